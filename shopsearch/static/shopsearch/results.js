/* The answer: swaps in what the server rendered, and keeps address, box, title and results in agreement.
 *
 * Answers "shopsearch:search" {url, picture: {id, file} | null, box}. The address of a search by picture names the picture by
 * its id; the picture itself stays in this browser and is posted to that address. Tells the boxes by "shopsearch:busy" {busy},
 * "shopsearch:found" {text, picture, examples, example, announcement} and "shopsearch:failed" {message, retry}; "shopsearch:cancel" ends a search.
 * "shopsearch:arrived" {body, until} goes out before results are shown: they wait for the promise `until`, but not for long.
 *
 * The history changes once the results are there, so Back while a search loads leaves the page that is shown.
 */

const PICTURE = "shopsearch:picture:"; // in the tab's storage
const PAGE = "shopsearch:page:";
const REGION = "[data-shopsearch-results]";
const EXAMPLES = ["similar", "dissimilar"]; // ids of pictures of the shop
const KEPT_PICTURES = 3;
const KEPT_PAGES = 8;
const SKELETONS = 8;
const HOLD = 300; // milliseconds that results wait for their better order
const LONGEST_RETRY = 120; // seconds

const pictures = new Map(); // id -> file
const pages = new Map(); // key of a history entry -> what it showed: {url, title, scroll, region, nodes}
const bare = (url) => new URL(url, document.baseURI).href.split("#")[0];
const newKey = () => `${Date.now()}-${Math.random()}`; // it tells its time
let entry = { key: history.state?.shopsearch ?? newKey(), url: bare(location.href) };
let running = null; // the search that is on its way: {region, controller, loading}

class Failed extends Error {
  constructor(message, { seconds = 0, lasting = false } = {}) {
    super(message);
    Object.assign(this, { seconds, lasting });
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const say = (name, detail = {}) => document.dispatchEvent(new CustomEvent(`shopsearch:${name}`, { detail }));
const parameter = (url, name) => new URL(url, document.baseURI).searchParams.get(name) ?? "";
const sentence = (node) => node.querySelector("[data-shopsearch-announcement]")?.dataset.shopsearchAnnouncement ?? "";
const headline = (node) => node.querySelector("[data-shopsearch-title]")?.dataset.shopsearchTitle;
const theRegion = () => document.querySelector(REGION);

function tellFound(url, announcement) {
  const id = parameter(url, "picture");
  const picture = pictures.has(id) ? { id, file: pictures.get(id), part: parameter(url, "box") } : null;
  const examples = [...new URL(url, document.baseURI).searchParams].filter(([name]) => EXAMPLES.includes(name));
  const example = theRegion()?.querySelector("template[data-shopsearch-box-example]")?.content;
  say("found", { text: parameter(url, "q"), picture, examples, example, announcement });
}

/* The shop's own words in the title: what stands before and after those of the search, which end in a dash. */
const [beforeTitle, afterTitle] = (() => {
  const known = theRegion() && headline(theRegion());
  const place = known ? document.title.indexOf(`${known} – `) : -1;
  if (place < 0) return ["", document.title];
  return [document.title.slice(0, place), document.title.slice(place + known.length + 3)];
})();

// ---- pictures: in memory, in the tab's storage for reloads and other pages, and in the shop's other tabs -------------

function keepLatest(prefix, count) {
  const names = Object.keys(sessionStorage).filter((each) => each.startsWith(prefix)).sort();
  for (const each of names.slice(0, -count)) sessionStorage.removeItem(each);
}

/** Keep the picture for as long as the tab lives; false where it is too large or the browser keeps nothing. */
async function store({ id, file }) {
  const reader = new FileReader();
  const loaded = new Promise((resolve, reject) => Object.assign(reader, { onload: resolve, onerror: reject }));
  reader.readAsDataURL(file);
  try {
    await loaded;
    keepLatest(PICTURE, KEPT_PICTURES - 1);
    sessionStorage.setItem(PICTURE + id, JSON.stringify({ name: file.name, type: file.type, data: reader.result }));
    return true;
  } catch {
    return false;
  }
}

function restore(id) {
  if (!id || pictures.has(id)) return Boolean(id);
  try {
    const { name, type, data } = JSON.parse(sessionStorage.getItem(PICTURE + id));
    const bytes = Uint8Array.from(atob(data.split(",")[1]), (letter) => letter.charCodeAt(0));
    keepPicture(id, new File([bytes], name, { type }));
  } catch {
    return false;
  }
  return true;
}

let channel = null;

function keepPicture(id, file) {
  pictures.set(id, file);
  share();
}

/** Answer the shop's other tabs that were opened with an address of a picture of this one. */
function share() {
  if (channel || !pictures.size || !window.BroadcastChannel) return;
  channel = new BroadcastChannel("shopsearch");
  channel.onmessage = ({ data: { wanted } }) => {
    if (pictures.has(wanted)) channel.postMessage({ id: wanted, file: pictures.get(wanted) });
  };
}

/** Whether another tab of the shop had the picture. */
function fromOtherTab(id) {
  if (!id || !window.BroadcastChannel) return Promise.resolve(false);
  const tabs = new BroadcastChannel("shopsearch");
  const answer = new Promise((resolve) => {
    tabs.onmessage = ({ data }) => {
      if (data.id !== id) return;
      keepPicture(id, data.file);
      store({ id, file: data.file });
      resolve(true);
    };
  });
  tabs.postMessage({ wanted: id });
  return Promise.race([answer, wait(500).then(() => false)]).finally(() => tabs.close());
}

// ---- asking the server -------------------------------------------------------------------------------------------

/** The results that the server renders for this address. */
async function fetched(url, signal) {
  const options = { headers: { "X-Shopsearch-Fragment": "results" }, signal };
  const id = parameter(url, "picture");
  if (restore(id) || (await fromOtherTab(id))) {
    const file = pictures.get(id);
    options.method = "POST";
    options.body = new FormData();
    options.body.append("image", file, file.name || "picture");
  }
  const response = await fetch(url, options);
  const { body } = new DOMParser().parseFromString(await response.text(), "text/html");
  const error = body.querySelector("[data-shopsearch-error]");
  const seconds = Math.min(Number(response.headers.get("Retry-After")) || 0, LONGEST_RETRY);
  if (error) throw new Failed(error.textContent.trim(), { seconds, lasting: response.status === 400 });
  if (!response.ok) throw new Failed("", { seconds });
  body.querySelector("[data-shopsearch-awaiting]")?.setAttribute("data-shopsearch-awaiting", "in vain");
  return body;
}

/** Do it while the page shows that it is busy. Only the latest is done: it cancels what is on its way. */
async function busily(region, loading, work, complain) {
  cancel();
  const mine = { region, loading, controller: new AbortController() };
  running = mine;
  region.setAttribute("aria-busy", "true");
  say("busy", { busy: true });
  let failure = null;
  let done = () => {};
  try {
    done = await work(mine.controller.signal);
  } catch (error) {
    failure = error;
  }
  if (running !== mine) return;
  end();
  if (!failure) done();
  else complain(failure);
}

function end() {
  running.region.removeAttribute("aria-busy");
  for (const each of running.loading) each.remove();
  running = null;
  say("busy", { busy: false });
}

function cancel() {
  if (!running) return;
  running.controller.abort();
  end();
}

function skeletons(count) {
  const template = document.querySelector("template[data-shopsearch-skeleton]");
  return template ? Array.from({ length: count }, () => template.content.firstElementChild.cloneNode(true)) : [];
}

/** Where nothing is shown yet: as many columns as the results will have. */
function greyed(region) {
  if (region.querySelector("[data-shopsearch-list]")) return [];
  const page = document.querySelector("template[data-shopsearch-loading]")?.content.firstElementChild.cloneNode(true);
  if (!page) return [];
  page.querySelector(".shopsearch-grid").append(...skeletons(SKELETONS));
  region.append(page);
  return [page];
}

// ---- when it fails -----------------------------------------------------------------------------------------------

/** The sentence of a failure, and a button to try again, which waits for as long as the server asks; null for no use. */
function excuse(error, again) {
  const { dataset } = document.querySelector("form[data-shopsearch]");
  const message = error.message && error instanceof Failed ? error.message
    : navigator.onLine ? dataset.shopsearchUnreachable : dataset.shopsearchOffline;
  if (error.lasting) return { message, retry: null };
  const retry = Object.assign(document.createElement("button"), { type: "button", className: "shopsearch-retry" });
  retry.addEventListener("click", () => { if (!isEarly(retry)) again(); });
  countDown(retry, error.seconds ?? 0);
  return { message, retry };
}

const isEarly = (control) => control.getAttribute("aria-disabled") === "true";

function countDown(control, seconds) {
  const label = document.querySelector("form[data-shopsearch]").dataset.shopsearchRetry;
  control.setAttribute("aria-disabled", seconds > 0);
  control.textContent = seconds > 0 ? `${label} (${seconds})` : label;
  if (seconds > 0) setTimeout(countDown, 1000, control, seconds - 1);
}

/** Say it where the shopper looks: beside what was used. */
function complainAt(control) {
  return (error, again) => {
    const { message, retry } = excuse(error, again);
    const note = Object.assign(document.createElement("p"), { className: "shopsearch-trouble" });
    note.setAttribute("role", "alert");
    note.append(message, " ", ...(retry ? [retry] : []));
    document.querySelector(".shopsearch-trouble")?.remove();
    control.after(note);
  };
}

const complainInBox = (error, again) => say("failed", excuse(error, again));

/** The address is another already, so what is shown must not be the former page. */
function complainAlone(region) {
  return (error, again) => {
    const note = Object.assign(document.createElement("div"), { className: "shopsearch-note" });
    const anchor = document.createElement("span");
    note.append(anchor);
    region.replaceChildren(note);
    complainAt(anchor)(error, again);
    document.title = beforeTitle + afterTitle;
    tellFound(entry.url, "");
  };
}

// ---- showing -----------------------------------------------------------------------------------------------------

/** Show the results of this address in the region; as a new entry of the history unless they are shown `again`. */
function show(url, region, { again = false, complain = complainInBox } = {}) {
  const focused = region.contains(document.activeElement) ? selectorOf(document.activeElement) : "";
  const work = async (signal) => {
    const body = await fetched(url, signal);
    const elsewhere = body.querySelector("[data-shopsearch-redirect] a");
    if (elsewhere) {
      location.assign(elsewhere.href); // a rule of the house; the search is no entry of the history, so Back works
      return () => {};
    }
    const detail = { body, until: null };
    say("arrived", detail);
    if (detail.until) await Promise.race([detail.until, wait(HOLD)]);
    return () => {
      if (!again && bare(url) !== entry.url) {
        remember(region);
        entry = { key: newKey(), url: bare(url) };
        history.pushState({ shopsearch: entry.key }, "", url);
      }
      const title = headline(body);
      document.title = title ? `${beforeTitle}${title} – ${afterTitle}` : beforeTitle + afterTitle;
      replace(region, [...body.childNodes]);
      tellFound(url, sentence(region));
      if (focused && document.activeElement === document.body) focus(region, focused);
      const isCovered = isSheetOpen(region.querySelector("[data-shopsearch-sheet]"));
      if (!again && !isCovered && region.getBoundingClientRect().top < 0) region.scrollIntoView();
    };
  };
  const complaint = (error) => complain(error, () => show(url, region, { again, complain }));
  return busily(region, greyed(region), work, complaint);
}

/** The sheet of filters stays open, where it was. */
function replace(region, nodes) {
  const sheet = region.querySelector("[data-shopsearch-sheet]");
  const isOpen = isSheetOpen(sheet);
  const { scrollTop } = sheet ?? {};
  region.replaceChildren(...nodes);
  const successor = region.querySelector("[data-shopsearch-sheet]");
  if (!isOpen || !successor) return;
  successor.showPopover();
  successor.scrollTop = scrollTop;
}

/* The sheet leaves the first results in sight. */
document.addEventListener("toggle", ({ target, newState }) => {
  if (newState !== "open" || !target.matches?.("[data-shopsearch-sheet]")) return;
  target.closest("[data-shopsearch-found]").querySelector(".shopsearch-found__results").scrollIntoView();
}, true);

function isSheetOpen(sheet) {
  try {
    return Boolean(sheet?.matches(":popover-open"));
  } catch {
    return false; // a browser without popovers shows the filters in the page
  }
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
  successor?.closest("details")?.setAttribute("open", ""); // “Show all”
  (successor ?? heading)?.focus({ preventScroll: true });
}

async function showMore(link, { quietly = false } = {}) {
  const found = link.closest("[data-shopsearch-found]");
  const list = found.querySelector("[data-shopsearch-list]");
  const waiting = skeletons(SKELETONS / 2);
  list.append(...waiting);
  const work = async (signal) => {
    const body = await fetched(link.href, signal);
    return () => {
      const known = new Set([...list.children].map((cell) => cell.dataset.productId));
      const cells = [...body.querySelectorAll("[data-shopsearch-list] > *")];
      const fresh = cells.filter((cell) => !known.has(cell.dataset.productId));
      list.append(...fresh);
      const next = body.querySelector("[data-shopsearch-more]");
      if (next) link.href = next.getAttribute("href");
      else link.parentElement.remove();
      found.querySelector(".shopsearch-trouble")?.remove();
      if (quietly) return;
      fresh[0]?.querySelector("a")?.focus({ preventScroll: true });
      tellFound(entry.url, sentence(body));
    };
  };
  await busily(found, waiting, work, (error) => complainAt(link.parentElement)(error, () => showMore(link)));
}

// ---- history -----------------------------------------------------------------------------------------------------

function remember(region = theRegion()) {
  if (!region) return;
  pages.delete(entry.key);
  const scroll = window.scrollY;
  pages.set(entry.key, { ...entry, title: document.title, scroll, region, nodes: [...region.childNodes] });
}

/** For when the browser has thrown the document away. */
function keepPages() {
  remember();
  for (const { key, url, title, scroll, nodes } of [...pages.values()].slice(-KEPT_PAGES)) {
    const html = nodes.map((node) => node.outerHTML ?? "").join("");
    try {
      sessionStorage.setItem(PAGE + key, JSON.stringify({ url, title, scroll, html }));
    } catch { /* it is searched again */ }
  }
  keepLatest(PAGE, KEPT_PAGES);
}

function kept(key) {
  if (pages.has(key)) return pages.get(key);
  const page = JSON.parse(sessionStorage.getItem(PAGE + key) ?? "null");
  const region = theRegion();
  if (!page || !region) return null;
  const { body } = new DOMParser().parseFromString(page.html, "text/html");
  return { ...page, region, nodes: [...body.childNodes] };
}

function put({ url, title, scroll, region, nodes }) {
  document.title = title;
  region.replaceChildren(...nodes);
  for (const form of region.querySelectorAll("[data-shopsearch-filters]")) form.reset(); // a tick that led away
  restore(parameter(url, "picture"));
  tellFound(url, sentence(region));
  window.scrollTo({ top: scroll, behavior: "instant" });
}

function stamp() {
  history.replaceState({ ...history.state, shopsearch: entry.key }, "");
}

window.addEventListener("popstate", ({ state }) => {
  const url = bare(location.href);
  const key = state?.shopsearch;
  if (key === entry.key) return;
  if (!key && url === entry.url) { // a fragment of this page
    if (theRegion()) stamp();
    return;
  }
  const region = pages.get(key)?.region ?? theRegion();
  if (!region?.isConnected) {
    if (pages.size) location.reload();
    return;
  }
  cancel();
  remember(pages.get(entry.key)?.region);
  entry = { key: key ?? newKey(), url };
  const page = kept(entry.key);
  if (page?.url === url && page.region.isConnected) put(page);
  else if ([...document.querySelectorAll("form[data-shopsearch]")].some((box) => bare(box.action) === url.split("?")[0])) {
    window.scrollTo({ top: 0, behavior: "instant" });
    show(url, region, { again: true, complain: complainAlone(region) });
  } else location.reload();
});

window.addEventListener("pagehide", () => {
  cancel();
  keepPages();
  channel?.close(); // else the browser would not keep the page for Back
  channel = null;
});

window.addEventListener("pageshow", ({ persisted }) => {
  share();
  if (persisted) tellFound(entry.url, "");
});

/** After a reload: as many cards as there were. */
async function showAsMany(region, count) {
  let link;
  let shown = 0;
  const cards = () => region.querySelectorAll("[data-shopsearch-list] > [data-product-id]").length;
  while ((link = region.querySelector("[data-shopsearch-more]")) && cards() < count && cards() > shown) {
    shown = cards();
    await showMore(link, { quietly: true });
  }
}

async function arrive(region) {
  stamp();
  history.scrollRestoration = "manual";
  const how = performance.getEntriesByType("navigation")[0]?.type;
  const page = ["back_forward", "reload"].includes(how) ? kept(entry.key) : null;
  const isSame = page?.url === entry.url;
  if (isSame && how === "back_forward") {
    put(page);
    return;
  }
  const retry = region.querySelector("[data-shopsearch-wait]");
  if (retry) countDown(retry, Number(retry.dataset.shopsearchWait));
  const awaiting = region.querySelector("[data-shopsearch-awaiting]");
  const id = parameter(entry.url, "picture");
  if (awaiting && (restore(id) || (await fromOtherTab(id)))) {
    await show(entry.url, region, { again: true, complain: complainAlone(region) });
  } else if (awaiting) {
    awaiting.dataset.shopsearchAwaiting = "in vain";
  }
  if (!isSame) return;
  await showAsMany(region, page.nodes.reduce((sum, node) => sum + (node.querySelectorAll?.("[data-product-id]").length ?? 0), 0));
  window.scrollTo({ top: page.scroll, behavior: "instant" });
}

// ---- what the shopper does ---------------------------------------------------------------------------------------

document.addEventListener("shopsearch:search", async (event) => {
  const { url, picture, box } = event.detail;
  event.preventDefault();
  if (picture) keepPicture(picture.id, picture.file);
  const stored = picture ? store(picture) : true;
  const region = document.querySelector(box.dataset.shopsearchTarget || REGION);
  if (region) await show(url, region);
  else if (await stored) location.assign(url);
  else box.submit(); // with its picture, as without script
});

document.addEventListener("shopsearch:cancel", cancel);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !running || event.isComposing) return;
  event.preventDefault(); // some browsers empty the box
  cancel();
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-shopsearch-filters]");
  if (!form) return;
  event.preventDefault();
  const url = new URL(form.getAttribute("action"), document.baseURI);
  for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value);
  const complain = (error, again) => {
    form.reset(); // it shows what holds
    complainAt(form.closest("[data-shopsearch-found]").querySelector(".shopsearch-line") ?? form)(error, again);
  };
  show(url.href, form.closest("[data-shopsearch-found]").parentElement, { complain });
});

document.addEventListener("change", (event) => {
  if (event.target.matches?.("[data-shopsearch-filters] :is([type=checkbox], select)")) event.target.form.requestSubmit();
});

document.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const skip = event.target.closest?.("a[data-shopsearch-skip]");
  const link = event.target.closest?.("a[data-shopsearch-more], a[data-shopsearch-follow]");
  if (!link && !skip) return;
  event.preventDefault();
  const found = (link ?? skip).closest("[data-shopsearch-found]");
  if (skip) found.querySelector("[data-shopsearch-list] a")?.focus();
  else if (isEarly(link)) return;
  else if (link.matches("[data-shopsearch-more]")) showMore(link);
  else if (found) show(link.href, found.parentElement, { complain: complainAt(found.querySelector(".shopsearch-line") ?? link) });
  else show(link.href, link.closest(REGION));
});

if (theRegion()) arrive(theRegion());
