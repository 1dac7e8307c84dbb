/* Judging by keyboard: a digit grades the product that has the focus, and the next one has it then. */

function goTo(group) {
  if (!group) return;
  group.querySelector("input[type=radio]:checked").focus({ preventScroll: true });
  group.closest("li").scrollIntoView({ block: "nearest" });
}

for (const form of document.querySelectorAll("[data-shopsearch-judging]")) {
  const groups = [...form.querySelectorAll("fieldset:not(:disabled)")];
  const isOpen = (group) => group.querySelector("input[type=radio]:checked").value === "";
  const values = groups.length ? [...groups[0].querySelectorAll("input[type=radio]")].map((radio) => radio.value) : [];

  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit(form.querySelector("[name=_next]"));
      return;
    }
    const at = groups.indexOf(event.target.closest("fieldset"));
    const value = ["Backspace", "Delete"].includes(event.key) ? "" : event.key;
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey || !values.includes(value)) return;
    event.preventDefault();
    groups[at].querySelector(`input[value="${value}"]:not([type=hidden])`).checked = true;
    goTo(groups[value ? at + 1 : at] ?? groups[at]);
  });

  if (!location.hash) groups.find(isOpen)?.querySelector("input[type=radio]:checked").focus({ preventScroll: true });
}
