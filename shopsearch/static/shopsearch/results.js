/* The answer: swaps in what the server rendered, and keeps the picture while the shopper refines, reloads, goes back.
 *
 * Answers "shopsearch:search" {url, picture: {id, file} | null, box}. The address of a search by picture names the picture by
 * its id; the picture itself stays in this tab and is posted to that address. Tells the boxes by "shopsearch:busy" {busy},
 * "shopsearch:found" {text, picture, announcement} and "shopsearch:failed" {message}.
 */

const STORED = "shopsearch:picture:";
const REGION = "[data-shopsearch-results]";
const KEPT = 2; // pictures in the tab's storage beside the latest
const SKELETONS = 8;

const pictures = new Map(); // id -> file
const pages = new Map(); // key of a history entry -> what it showed: {region, nodes, title}
let key = history.state?.shopsearch ?? "first";
let shown = location.href;
let running = null;

class Refused extends Error {}

const say = (name, detail) => document.dispatchEvent(new CustomEvent(`shopsearch:${name}`, { detail }));
const parameter = (url, name) => new URL(url, document.baseURI).searchParams.get(name) ?? "";
const sentence = (node) => node.querySelector("[data-shopsearch-announcement]")?.dataset.shopsearchAnnouncement ?? "";

function tellFound(url, node) {
  const id = parameter(url, "picture");
  const picture = pictures.has(id) ? { id, file: pictures.get(id) } : null;
  say("found", { text: parameter(url, "q"), picture, announcement: sentence(node) });
}

// ---- pictures: in memory, and for reloads and other pages of the shop in the tab's storage ------------------------

/** Keep the picture for as long as the tab lives; false where it is too large or the browser keeps nothing. */
async function store({ id, file }) {
  const reader = new FileReader();
  const loaded = new Promise((resolve, reject) => Object.assign(reader, { onload: resolve, onerror: reject }));
  reader.readAsDataURL(file);
  try {
    await loaded;
    const others = Object.keys(sessionStorage).filter((each) => each.startsWith(STORED) && each !== STORED + id);
    for (const each of others.sort().slice(0, -KEPT)) sessionStorage.removeItem(each); // an id tells its time
    sessionStorage.setItem(STORED + id, JSON.stringify({ name: file.name, type: file.type, data: reader.result }));
    return true;
  } catch {
    return false;
  }
}

function restore(id) {
  try {
    const { name, type, data } = JSON.parse(sessionStorage.getItem(STORED + id));
    const bytes = Uint8Array.from(atob(data.split(",")[1]), (letter) => letter.charCodeAt(0));
    pictures.set(id, new File([bytes], name, { type }));
  } catch {
    return false;
  }
  return true;
}

// ---- asking the server -------------------------------------------------------------------------------------------

/** The results that the server renders for this address. Only the latest question is answered. */
async function fetched(url) {
  running?.abort();
  running = new AbortController();
  const options = { headers: { "X-Shopsearch-Fragment": "results" }, signal: running.signal };
  const file = pictures.get(parameter(url, "picture"));
  if (file) {
    options.method = "POST";
    options.body = new FormData();
    options.body.append("image", file, file.name || "picture");
  }
  const response = await fetch(url, options);
  const { body } = new DOMParser().parseFromString(await response.text(), "text/html");
  const error = body.querySelector("[data-shopsearch-error]");
  if (error) throw new Refused(error.textContent.trim());
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return body;
}

/** Do it while the page shows that it is busy. */
async function busily(region, work) {
  region.setAttribute("aria-busy", "true");
  say("busy", { busy: true });
  try {
    await work();
  } catch (error) {
    if (error.name === "AbortError") return; // a later question is on its way, and busy
    say("failed", { message: error instanceof Refused ? error.message : "" });
  }
  region.removeAttribute("aria-busy");
  say("busy", { busy: false });
}

function skeletons(count) {
  const template = document.querySelector("template[data-shopsearch-skeleton]");
  return template ? Array.from({ length: count }, () => template.content.firstElementChild.cloneNode(true)) : [];
}

function grey(region) {
  const grid = Object.assign(document.createElement("div"), { className: "shopsearch-grid" });
  grid.append(...skeletons(SKELETONS));
  region.replaceChildren(grid);
}

// ---- showing -----------------------------------------------------------------------------------------------------

/** Show the results of this address in the region; as a new entry of the history unless they are shown again. */
async function show(url, region, { again = false } = {}) {
  const focused = region.contains(document.activeElement) ? selectorOf(document.activeElement) : "";
  const before = [...region.childNodes];
  if (!region.querySelector("[data-shopsearch-list]")) grey(region);
  await busily(region, async () => {
    let body;
    try {
      body = await fetched(url);
    } finally {
      region.replaceChildren(...before); // the history remembers the page as it was
    }
    if (!again && url !== shown) {
      remember(region);
      key = `${Date.now()}-${Math.random()}`;
      history.pushState({ shopsearch: key }, "", url);
    }
    shown = url;
    document.title = body.querySelector("[data-shopsearch-title]")?.dataset.shopsearchTitle ?? document.title;
    const isOpen = before.some((node) => node.querySelector?.("[data-shopsearch-refine][open]"));
    region.replaceChildren(...body.childNodes);
    region.querySelector("[data-shopsearch-refine]")?.toggleAttribute("open", isOpen);
    tellFound(url, region);
    if (focused && document.activeElement === document.body) focus(region, focused);
    if (region.getBoundingClientRect().top < 0) region.scrollIntoView();
  });
}

function selectorOf({ name, dataset: { shopsearchChoice: choice } }) {
  if (name) return `[name="${CSS.escape(name)}"]:not([type=hidden])`;
  return choice ? `[data-shopsearch-choice="${CSS.escape(choice)}"]` : ".shopsearch-results__title";
}

/** What had the focus was replaced: go on at its successor, or where the answer begins. */
function focus(region, selector) {
  const heading = region.querySelector(".shopsearch-results__title");
  heading?.setAttribute("tabindex", "-1");
  const successor = region.querySelector(selector);
  successor?.closest("details:not([data-shopsearch-refine])")?.setAttribute("open", ""); // “Show all”
  (successor ?? heading)?.focus({ preventScroll: true });
}

async function showMore(link) {
  const found = link.closest("[data-shopsearch-found]");
  const list = found.querySelector("[data-shopsearch-list]");
  const waiting = skeletons(SKELETONS / 2);
  list.append(...waiting);
  await busily(found, async () => {
    let body;
    try {
      body = await fetched(link.href);
    } finally {
      for (const each of waiting) each.remove();
    }
    const known = new Set([...list.children].map((cell) => cell.dataset.productId));
    const cells = [...body.querySelectorAll("[data-shopsearch-list] > *")];
    const fresh = cells.filter((cell) => !known.has(cell.dataset.productId));
    list.append(...fresh);
    const next = body.querySelector("[data-shopsearch-more]");
    if (next) link.href = next.getAttribute("href");
    else link.parentElement.remove();
    fresh[0]?.querySelector("a")?.focus();
    tellFound(link.href, body);
  });
}

function remember(region) {
  pages.set(key, { region, nodes: [...region.childNodes], title: document.title });
}

window.addEventListener("popstate", (event) => {
  const page = pages.get(event.state?.shopsearch ?? "first");
  if (!page?.region.isConnected) {
    if (pages.size) location.reload();
    return;
  }
  running?.abort();
  remember(page.region);
  key = event.state?.shopsearch ?? "first";
  shown = location.href;
  document.title = page.title;
  page.region.replaceChildren(...page.nodes);
  page.region.removeAttribute("aria-busy");
  say("busy", { busy: false });
  tellFound(shown, page.region);
});

// ---- what the shopper does ---------------------------------------------------------------------------------------

document.addEventListener("shopsearch:search", async (event) => {
  const { url, picture, box } = event.detail;
  event.preventDefault();
  if (picture) pictures.set(picture.id, picture.file);
  const kept = picture ? store(picture) : true;
  const region = document.querySelector(box.dataset.shopsearchTarget || REGION);
  if (region) await show(url, region);
  else if (await kept) location.assign(url);
  else box.submit(); // with its picture, as without script
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-shopsearch-filters]");
  if (!form) return;
  event.preventDefault();
  const url = new URL(form.getAttribute("action"), document.baseURI);
  for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value);
  show(url.href, form.closest("[data-shopsearch-found]").parentElement);
});

document.addEventListener("change", (event) => {
  if (event.target.matches?.("[data-shopsearch-filters] :is([type=checkbox], select)")) event.target.form.requestSubmit();
});

document.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[data-shopsearch-more], a[data-shopsearch-follow]");
  if (!link) return;
  event.preventDefault();
  if (link.matches("[data-shopsearch-more]")) showMore(link);
  else show(link.href, link.closest("[data-shopsearch-found]").parentElement);
});

/* This page's address names a picture: it is in this tab, or the page says that it is not. */
const awaiting = document.querySelector("[data-shopsearch-awaiting]");
if (awaiting) {
  if (restore(parameter(location.href, "picture"))) show(location.href, awaiting.parentElement, { again: true });
  else awaiting.dataset.shopsearchAwaiting = "in vain";
}
