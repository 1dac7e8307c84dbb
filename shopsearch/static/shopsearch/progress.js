// The list of collections, read anew every few seconds while one of them is being filled.
const SECONDS = 5;

async function refresh() {
  const list = document.querySelector("#result_list tbody");
  if (!list?.querySelector("progress")) return;
  if (!document.hidden && !list.contains(document.activeElement)) {
    try {
      const response = await fetch(location.href);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.querySelector("#result_list tbody");
      if (response.ok && fresh) list.replaceWith(fresh);
    } catch {
      // The next time.
    }
  }
  setTimeout(refresh, SECONDS * 1000);
}

setTimeout(refresh, SECONDS * 1000);
