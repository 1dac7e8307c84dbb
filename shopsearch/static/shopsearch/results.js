/* The answer: swaps in what the server rendered, and keeps the picture while the shopper refines, reloads, goes back.
 *
 * Answers "shopsearch:search" {url, picture, target}. A picture has no address: it is posted to the address of the rest.
 * Tells the boxes by "shopsearch:busy" {busy}, "shopsearch:found" {text, picture, announcement} and
 * "shopsearch:failed" {message}.
 */

const STORED = "shopsearch:picture";
const REGION = "[data-shopsearch-results]";
const SKELETONS = 8;

const pages = new Map(); // key of a history entry -> what it showed: {container, nodes, title, text, picture}
let key = history.state?.shopsearch ?? "first";
let picture = null; // the one that what is shown was found with
let running = null;

class Refused extends Error {}

const say = (name, detail) => document.dispatchEvent(new CustomEvent(`shopsearch:${name}`, { detail }));
const wordsOf = (url) => new URL(url, document.baseURI).searchParams.get("q") ?? "";
const sentence = (page) => page.querySelector("[data-shopsearch-announcement]")?.dataset.shopsearchAnnouncement ?? "";

/** What the server renders: its "results" alone or the whole "page". Only the latest question is answered. */
async function fetched(url, file, part) {
  running?.abort();
  running = new AbortController();
  const options = { headers: { "X-Shopsearch-Fragment": part }, signal: running.signal };
  if (file) {
    options.method = "POST";
    options.body = new FormData();
    options.body.append("image", file, file.name || "picture");
  }
  const response = await fetch(url, options);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const error = page.querySelector("[data-shopsearch-error]");
  if (error) throw new Refused(error.textContent.trim());
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return page;
}

function skeletons(count) {
  const template = document.querySelector("template[data-shopsearch-skeleton]");
  return template ? Array.from({ length: count }, () => template.content.firstElementChild.cloneNode(true)) : [];
}

/** Do it while the page shows that it is busy; true when it is done, false when it failed or was overtaken. */
async function busily(region, work) {
  region?.setAttribute("aria-busy", "true");
  say("busy", { busy: true });
  try {
    await work();
  } catch (error) {
    if (error.name === "AbortError") return false; // a later question is on its way, and busy
    say("failed", { message: error instanceof Refused ? error.message : "" });
  }
  region?.removeAttribute("aria-busy");
  say("busy", { busy: false });
  return true;
}

function enter(url, container, file) {
  remember(container);
  key = `${Date.now()}-${Math.random()}`;
  history.pushState({ shopsearch: key }, "", url);
  picture = file;
  store(file);
}

function remember(container) {
  pages.set(key, { container, nodes: [...container.childNodes], title: document.title, picture });
}

async function search({ url, file, target = "", again = false }) {
  const region = document.querySelector(target || REGION);
  const container = region ?? document.querySelector("main");
  const before = [...container.childNodes];
  const focused = region?.contains(document.activeElement) ? document.activeElement : null;
  if (region && !region.querySelector("[data-shopsearch-list]")) {
    const grid = Object.assign(document.createElement("div"), { className: "shopsearch-grid" });
    grid.append(...skeletons(SKELETONS));
    if (grid.childElementCount) region.replaceChildren(grid);
  }
  let page = null;
  await busily(region, async () => {
    try {
      page = await fetched(url, file, region ? "results" : "page");
    } catch (error) {
      container.replaceChildren(...before);
      throw error;
    }
    const source = region ? page.body : page.querySelector("main");
    if (!source) throw new Error("The search page has no <main>.");
    container.replaceChildren(...before); // history remembers the page as it was, not its skeletons
    if (again) picture = file;
    else enter(url, container, file);
    document.title = page.querySelector("[data-shopsearch-title]")?.dataset.shopsearchTitle ?? page.title;
    container.replaceChildren(...source.childNodes);
    say("found", { text: wordsOf(url), picture: file, announcement: sentence(container) });
    if (focused) container.querySelector(selectorOf(focused))?.focus();
    if (document.activeElement === document.body) focusHeading(container);
    if (container.getBoundingClientRect().top < 0) container.scrollIntoView();
  });
}

const selectorOf = (element) => (element.name ? `[name="${CSS.escape(element.name)}"]` : ".shopsearch-filters__apply");

/** Whoever reads by keyboard goes on where the answer begins; what had the focus is gone. */
function focusHeading(container) {
  const heading = container.querySelector(".shopsearch-results__title");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus({ preventScroll: true });
}

async function showMore(link) {
  const region = link.closest("[data-shopsearch-found]");
  const list = region.querySelector("[data-shopsearch-list]");
  const waiting = skeletons(SKELETONS / 2);
  list.append(...waiting);
  await busily(region, async () => {
    let page;
    try {
      page = await fetched(link.href, picture, "results");
    } finally {
      for (const each of waiting) each.remove();
    }
    const known = new Set([...list.children].map((cell) => cell.dataset.productId));
    const cells = [...page.querySelectorAll("[data-shopsearch-list] > *")];
    const fresh = cells.filter((cell) => !known.has(cell.dataset.productId));
    list.append(...fresh);
    const next = page.querySelector("[data-shopsearch-more]");
    if (next) link.href = next.getAttribute("href");
    else link.parentElement.remove();
    fresh[0]?.querySelector("a")?.focus();
    say("found", { text: wordsOf(link.href), picture, announcement: sentence(page) });
  });
}

// ---- reload, back and forward ------------------------------------------------------------------------------------

/** Keep the latest picture for as long as the tab lives, for whoever reloads or comes back from a product's page. */
function store(file) {
  if (!file) return;
  const reader = new FileReader();
  const owner = key;
  reader.onload = () => {
    try {
      sessionStorage.setItem(STORED, JSON.stringify({ key: owner, name: file.name, type: file.type, data: reader.result }));
    } catch {
      sessionStorage.removeItem(STORED); // too large, or storing is not allowed: a reload forgets the picture
    }
  };
  reader.readAsDataURL(file);
}

function stored() {
  try {
    const held = JSON.parse(sessionStorage.getItem(STORED));
    if (held?.key !== history.state?.shopsearch) return null;
    const bytes = Uint8Array.from(atob(held.data.split(",")[1]), (letter) => letter.charCodeAt(0));
    return new File([bytes], held.name, { type: held.type });
  } catch {
    return null;
  }
}

window.addEventListener("popstate", (event) => {
  const page = pages.get(event.state?.shopsearch ?? "first");
  if (!page?.container.isConnected) {
    if (event.state?.shopsearch || pages.size) location.reload();
    return;
  }
  running?.abort();
  remember(page.container);
  key = event.state?.shopsearch ?? "first";
  picture = page.picture;
  document.title = page.title;
  page.container.replaceChildren(...page.nodes);
  page.container.removeAttribute("aria-busy");
  say("busy", { busy: false });
  say("found", { text: wordsOf(location.href), picture, announcement: sentence(page.container) });
});

// ---- what the shopper does ---------------------------------------------------------------------------------------

document.addEventListener("shopsearch:search", (event) => {
  const { url, picture: file, target } = event.detail;
  const region = document.querySelector(target || REGION);
  if (!region && file && !document.querySelector("main")) return; // the form is posted, as without script
  event.preventDefault();
  if (region || file) search({ url, file, target });
  else location.assign(url);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-shopsearch-filters]");
  if (!form) return;
  event.preventDefault();
  const url = new URL(form.getAttribute("action"), document.baseURI);
  for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value);
  search({ url: url.href, file: picture });
});

document.addEventListener("change", (event) => {
  if (event.target.matches?.("[data-shopsearch-filters] [type=checkbox]")) event.target.form.requestSubmit();
});

document.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[data-shopsearch-more], a[data-shopsearch-follow]");
  if (!link) return;
  event.preventDefault();
  if (link.matches("[data-shopsearch-more]")) showMore(link);
  else search({ url: link.href, file: picture });
});

const kept = history.state?.shopsearch ? stored() : null;
if (kept && document.querySelector(REGION)) search({ url: location.href, file: kept, again: true });
