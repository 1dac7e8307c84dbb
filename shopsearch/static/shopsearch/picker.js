/* Django's autocomplete has a field to type in that no label names; here it gets the name of its list. */

function name() {
  for (const list of document.querySelectorAll("select.admin-autocomplete[aria-label]")) {
    list.parentElement.querySelector(".select2-search__field")?.setAttribute("aria-label", list.getAttribute("aria-label"));
  }
}

// After Django's own scripts, which wait for the same.
django.jQuery(name);
document.addEventListener("formset:added", () => setTimeout(name));
