/* Suggestions while typing: the box becomes a combobox with a list (ARIA Authoring Practices: list autocomplete, manual
 * selection). The list is made when it is first needed; without this script there is none.
 *
 * No module is imported, and all listeners are the document's, as in widget.js: boxes may come later, or twice. Recent searches
 * stay in this browser.
 */

const SHORTEST = 2; // characters
const PAUSE = 120; // milliseconds after the last key
const RECENT = "shopsearch-recent"; // in the browser's storage
const KEPT_RECENT = 5;
const LONGEST_RECENT = 100; // characters: a longer text is no search to come back to
const OPTION = "[role=option]";

const lists = new WeakMap(); // box -> what is known of its list: {box, input, list, groups, status, active, shown, said}
let made = 0; // lists, for their ids
let timer = 0;
let running = null; // the request that is on its way
let isComposing = false; // by an input method: what stands in the box is not what is meant yet
let isOff = false; // the shop does not answer such requests from this page
let quietUntil = 0;

const boxOf = (node) => (node instanceof Element ? node.closest("form[data-shopsearch-suggest]") : null);
const boxOfInput = (node) => (boxOf(node)?.elements.q === node ? boxOf(node) : null);

// ---- recent searches -----------------------------------------------------------------------------------------------

function recent() {
  try {
    const kept = JSON.parse(localStorage.getItem(RECENT) ?? "[]");
    return Array.isArray(kept) ? kept.filter((each) => typeof each === "string").slice(0, KEPT_RECENT) : [];
  } catch {
    return []; // a browser that keeps nothing
  }
}

function keepRecent(texts) {
  try {
    if (texts.length) localStorage.setItem(RECENT, JSON.stringify(texts.slice(0, KEPT_RECENT)));
    else localStorage.removeItem(RECENT);
  } catch { /* the same */ }
}

function remember(text) {
  const same = (each) => each.toLowerCase() === text.toLowerCase();
  if (text && text.length <= LONGEST_RECENT) keepRecent([text, ...recent().filter((each) => !same(each))]);
}

// ---- the list ------------------------------------------------------------------------------------------------------

/** The box's list, made when it is first asked for; the box is a combobox from then on. */
function listOf(box) {
  if (lists.has(box)) return lists.get(box);
  const input = box.elements.q;
  const content = box.querySelector("template[data-shopsearch-suggestions]").content.cloneNode(true);
  const list = content.querySelector("[role=listbox]");
  const status = box.querySelector("[data-shopsearch-status]");
  const groups = {};
  for (const group of list.querySelectorAll("[data-shopsearch-group]")) {
    const option = group.querySelector(OPTION);
    option.remove();
    groups[group.dataset.shopsearchGroup] = { group, option };
  }
  made += 1;
  list.id = `shopsearch-suggestions-${made}`;
  input.closest(".shopsearch__box").append(list);
  const attributes = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id };
  for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
  const { value, selectionStart, selectionEnd } = input;
  input.type = "text"; // no combobox is a search field as well
  if (document.activeElement === input) {
    input.value = value;
    input.setSelectionRange(selectionStart, selectionEnd);
  }
  const own = { box, input, list, groups, status, active: null, shown: "", said: "" };
  lists.set(box, own);
  return own;
}

const optionsOf = ({ list }) => [...list.querySelectorAll(OPTION)];
const isOpen = (own) => !own.list.hidden;

/** Fill the groups: {recent: [...], ...}, each entry {text, note, image, href, act, typed}. */
function fill(own, entries) {
  for (const [name, { group, option }] of Object.entries(own.groups)) {
    for (const each of group.querySelectorAll(OPTION)) each.remove();
    const made = (entries[name] ?? []).map((entry) => optionOf(option, entry));
    group.append(...made);
    group.hidden = made.length === 0;
  }
  for (const side of own.list.querySelectorAll(".shopsearch-suggest__side")) side.hidden = !side.querySelector(OPTION);
  optionsOf(own).forEach((each, place) => { each.id = `${own.list.id}-${place}`; });
}

function optionOf(prototype, { text, note = "", image = "", href = "", act, typed = "" }) {
  const option = prototype.cloneNode(true);
  const label = option.querySelector(".shopsearch-suggest__text");
  if (text) label.replaceChildren(...marked(text, typed));
  const noted = option.querySelector(".shopsearch-suggest__note");
  if (noted) noted.textContent = note;
  const picture = option.querySelector("img");
  if (picture && image) picture.src = image;
  else picture?.removeAttribute("src");
  if (href) option.href = href;
  option.shopsearchAct = act;
  return option;
}

/** The text with what is not typed yet in bold. */
function marked(text, typed) {
  if (!typed || !text.toLowerCase().startsWith(typed.toLowerCase())) return [text];
  const rest = document.createElement("b");
  rest.textContent = text.slice(typed.length);
  return [text.slice(0, typed.length), rest];
}

function open(own) {
  const number = optionsOf(own).length;
  if (!number) {
    close(own);
    return;
  }
  own.list.hidden = false;
  own.box.toggleAttribute("data-shopsearch-suggesting", true);
  own.input.setAttribute("aria-expanded", "true");
  own.said = `${own.list.getAttribute("aria-label")}: ${number}`;
  own.status.textContent = own.said;
}

function close(own) {
  select(own, null);
  own.list.hidden = true;
  own.box.toggleAttribute("data-shopsearch-suggesting", false);
  own.input.setAttribute("aria-expanded", "false");
  if (own.status.textContent === own.said) own.status.textContent = "";
}

function closeAll(except = null) {
  stop();
  for (const box of document.querySelectorAll("form[data-shopsearch-suggesting]")) {
    if (box !== except) close(listOf(box));
  }
}

function select(own, option) {
  own.active?.setAttribute("aria-selected", "false");
  own.active = option;
  option?.setAttribute("aria-selected", "true");
  option?.scrollIntoView({ block: "nearest" });
  if (option) own.input.setAttribute("aria-activedescendant", option.id);
  else own.input.removeAttribute("aria-activedescendant");
}

/** The next option, or the one before; between the last and the first lies the box itself. */
function move(own, step) {
  const options = optionsOf(own);
  const stops = [null, ...options];
  const place = stops.indexOf(own.active) + step;
  select(own, stops[(place + stops.length) % stops.length]);
}

// ---- asking --------------------------------------------------------------------------------------------------------

function stop() {
  clearTimeout(timer);
  running?.abort();
  running = null;
}

function soon(own) {
  stop();
  const text = own.input.value.trim();
  if ([...text].length < SHORTEST) {
    if (text) close(own);
    else offerRecent(own);
    return;
  }
  timer = setTimeout(ask, PAUSE, own, text);
}

function offerRecent(own) {
  const texts = recent();
  if (!texts.length) {
    close(own);
    return;
  }
  const again = () => {
    keepRecent([]);
    close(own);
  };
  fill(own, {
    recent: texts.map((text) => ({ text, act: () => search(own, text) })),
    forget: [{ act: again }],
  });
  own.shown = "";
  open(own);
}

async function ask(own, text) {
  if (isOff || isComposing || performance.now() < quietUntil) return;
  const controller = new AbortController();
  running = controller;
  const url = new URL(own.box.dataset.shopsearchSuggest, document.baseURI);
  url.searchParams.set("q", text);
  const index = own.box.elements.index?.value;
  if (index) url.searchParams.set("index", index);
  let found;
  try {
    const response = await fetch(url, { signal: controller.signal, headers: { Accept: "application/json" } });
    if ([401, 403, 404].includes(response.status)) isOff = true;
    if (response.status === 429) quietUntil = performance.now() + 1000 * (Number(response.headers.get("Retry-After")) || 10);
    if (!response.ok) throw new Error(response.statusText);
    found = await response.json();
  } catch {
    if (running === controller) close(own); // nothing to suggest is no trouble to a shopper
    return;
  }
  // An answer to what is no longer asked is dropped.
  if (running !== controller || own.input.value.trim() !== text || document.activeElement !== own.input) return;
  running = null;
  show(own, text, found);
}

function show(own, typed, { completions, categories, products }) {
  select(own, null);
  const filters = [...new Set(categories.map((each) => each.filter_label))];
  const { group } = own.groups.categories; // of one filter, its name says it once
  group.shopsearchName ??= group.getAttribute("aria-label");
  const name = filters.length === 1 ? filters[0] : group.shopsearchName;
  group.setAttribute("aria-label", name);
  group.querySelector(".shopsearch-suggest__heading").textContent = name;
  fill(own, {
    completions: completions.map(({ text, url }) => ({ text, typed, href: url, act: () => search(own, text) })),
    categories: categories.map(({ label, filter_label: filter, url }) => ({
      text: label, note: filters.length > 1 ? filter : "", href: url, act: () => go(own, url, label),
    })),
    products: products.map(({ title, price, image, url }) => ({ text: title, note: price ?? "", image, href: url })),
  });
  own.shown = typed;
  open(own);
}

function search(own, text) {
  own.input.value = text;
  close(own);
  own.box.requestSubmit();
}

/** An address of the search page; the page that is there already answers it in place. */
function go(own, url, text) {
  own.input.value = text;
  close(own);
  const question = new CustomEvent("shopsearch:search", { detail: { url, picture: null, box: own.box }, cancelable: true });
  if (document.dispatchEvent(question)) location.assign(url);
}

function use(own, option) {
  if (option.shopsearchAct) option.shopsearchAct();
  else if (option.href) location.assign(option.href);
}

// ---- what the shopper does -----------------------------------------------------------------------------------------

document.addEventListener("focusin", ({ target }) => {
  const box = boxOfInput(target);
  closeAll(box);
  if (box) listOf(box);
});

document.addEventListener("focusout", ({ target, relatedTarget }) => {
  const box = boxOf(target);
  if (box && lists.has(box) && !lists.get(box).list.contains(relatedTarget)) {
    stop();
    close(lists.get(box));
  }
});

document.addEventListener("compositionstart", ({ target }) => {
  if (!boxOfInput(target)) return;
  isComposing = true;
  stop();
});
document.addEventListener("compositionend", ({ target }) => {
  const box = boxOfInput(target);
  if (!box) return;
  isComposing = false;
  soon(listOf(box));
});

document.addEventListener("input", (event) => {
  const box = boxOfInput(event.target);
  if (box && !isComposing && !event.isComposing) soon(listOf(box));
});

document.addEventListener("keydown", (event) => {
  const box = boxOfInput(event.target);
  if (!box || isComposing || event.isComposing || event.keyCode === 229) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const own = listOf(box);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (event.altKey && event.key === "ArrowUp") close(own);
    else if (isOpen(own)) move(own, event.key === "ArrowDown" ? 1 : -1);
    else if (own.shown && own.shown === own.input.value.trim()) open(own);
    else soon(own);
  } else if (event.key === "Enter" && isOpen(own) && own.active) {
    event.preventDefault();
    use(own, own.active);
  } else if (event.key === "Escape" && isOpen(own)) {
    event.preventDefault(); // the words stay
    event.stopImmediatePropagation(); // it ends the list, and no search
    stop();
    close(own);
  } else if (event.key === "Tab") {
    stop();
    close(own);
  }
}, true); // before results.js, for which Escape ends a search

document.addEventListener("pointerdown", (event) => {
  const box = boxOfInput(event.target);
  const own = box && listOf(box);
  if (own && !isOpen(own) && document.activeElement === own.input) soon(own);
});
document.addEventListener("click", (event) => {
  const box = boxOfInput(event.target);
  if (box && !listOf(box).input.value && !isOpen(listOf(box))) soon(listOf(box));
});

/* The focus stays in the box. */
document.addEventListener("mousedown", (event) => {
  if (event.target.closest?.(".shopsearch-suggest")) event.preventDefault();
});

document.addEventListener("click", (event) => {
  const option = event.target.closest?.(`.shopsearch-suggest ${OPTION}`);
  if (!option || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  use(listOf(boxOf(option)), option);
});

document.addEventListener("submit", ({ target }) => {
  const box = boxOf(target);
  if (!box || target !== box) return;
  remember(box.elements.q.value.trim());
  closeAll();
});
document.addEventListener("shopsearch:busy", ({ detail }) => { if (detail.busy) closeAll(); });
document.addEventListener("reset", ({ target }) => { if (boxOf(target)) closeAll(); });

for (const box of document.querySelectorAll("form[data-shopsearch-suggest]")) listOf(box);
