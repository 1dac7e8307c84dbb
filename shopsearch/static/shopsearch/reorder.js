/* The better order: asks for the rerank until it is done, then lets the cards glide to their new places.
 *
 * The line above the results ([data-shopsearch-order]) says how far it is: "waiting", "offered", "shown", or "kept" where
 * nothing came of it. It carries both orders, as ids of products. An order that comes before the results are shown is
 * theirs from the start. With the order come the reasons: links that keep, drop or change what the first product shares
 * with the search. Tells the boxes by "shopsearch:reordered" {announcement}. Never moves what the shopper points at.
 */

const FIRST_WAIT = 80; // milliseconds
const LONGEST_WAIT = 1000;
const GLIDE = { duration: 450, easing: "cubic-bezier(.3, 0, .1, 1)" };
const FINAL = ["done", "failed", "expired"];
const MOST_CHIPS = 5; // so that they are one line

const followed = new WeakSet(); // lines whose rerank is being asked for
const reasonsOf = new WeakMap(); // line -> what came with its better order

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const foundOf = (line) => line.closest("[data-shopsearch-found]");
const listOf = (line) => foundOf(line).querySelector("[data-shopsearch-list]");
const idOf = (cell) => cell.dataset.productId;
const isOver = (line) => line.ownerDocument === document && !line.isConnected; // the shopper may come back to it

function whenVisible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  }).then(whenVisible);
}

// ---- asking ------------------------------------------------------------------------------------------------------

/** The address of the rerank: on the line, or, where the server could not know that there is a script, from the server. */
async function addressOf(line) {
  if (!line.dataset.shopsearchRerank) {
    const options = { headers: { "X-Shopsearch-Fragment": "results" } };
    const response = await fetch(location.href, options);
    const { body } = new DOMParser().parseFromString(await response.text(), "text/html");
    line.dataset.shopsearchRerank = body.querySelector("[data-shopsearch-order]")?.dataset.shopsearchRerank ?? "";
  }
  return line.dataset.shopsearchRerank;
}

/** The rerank in its final state; null where there is none to wait for any more. */
async function answer(line) {
  const address = await addressOf(line);
  const end = performance.now() + 1000 * line.dataset.shopsearchSeconds + LONGEST_WAIT;
  for (let pause = FIRST_WAIT; address && performance.now() < end; pause = Math.min(pause * 1.5, LONGEST_WAIT)) {
    await wait(pause);
    await whenVisible();
    if (isOver(line)) return null;
    const response = await fetch(address);
    if (!response.ok) return null;
    const rerank = await response.json();
    if (FINAL.includes(rerank.state)) return rerank;
  }
  return null;
}

async function follow(line) {
  if (followed.has(line) || line.dataset.shopsearchOrder !== "waiting") return;
  followed.add(line);
  const rerank = await answer(line).catch(() => null);
  followed.delete(line);
  if (isOver(line)) return;
  if (rerank?.state === "done") take(rerank, line);
  else glide(line, () => { line.dataset.shopsearchOrder = "kept"; });
}

// ---- moving ------------------------------------------------------------------------------------------------------

function take({ order, caption, reason, reasons = [] }, line) {
  reasonsOf.set(line, reasons);
  const cells = [...listOf(line).children];
  const better = order.map(String);
  if (arranged(cells, better).every((cell, place) => cell === cells[place])) {
    glide(line, () => { line.dataset.shopsearchOrder = "kept"; explain(line); });
    return;
  }
  line.dataset.shopsearchBetter = better.join(" ");
  line.dataset.shopsearchFirst = cells.map(idOf).join(" ");
  line.querySelector("[data-shopsearch-reason]").textContent = reason;
  line.querySelector("[data-shopsearch-caption]").textContent = reasons.some(({ kind }) => kind === "looks") ? "" : caption;
  if (!line.isConnected) {
    arrange(line, "better");
  } else if (isInUse(listOf(line))) {
    line.dataset.shopsearchOrder = "offered";
    tell(line.dataset.shopsearchReady);
  } else {
    show(line, "better");
  }
}

/** Whether the shopper points at a card, is at one with the keyboard, has scrolled into them, or wants no motion. */
function isInUse(list) {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  return isStill || list.matches(":hover") || list.contains(document.activeElement) || list.getBoundingClientRect().top < 0;
}

/** The cells in the order of these products; those of no such product follow as they are. */
function arranged(cells, ids) {
  const places = new Map(ids.map((id, place) => [id, place]));
  const place = (cell) => places.get(idOf(cell)) ?? ids.length;
  return [...cells].sort((one, other) => place(one) - place(other));
}

function arrange(line, which) {
  const list = listOf(line);
  const ids = (which === "better" ? line.dataset.shopsearchBetter : line.dataset.shopsearchFirst).split(" ");
  line.dataset.shopsearchOrder = which === "better" ? "shown" : "offered";
  explain(line, which === "first");
  for (const cell of arranged([...list.children], ids)) list.moveBefore && list.isConnected ? list.moveBefore(cell, null) : list.append(cell);
}

/** Afterwards, the cards are in the better order, or in the first again. */
function show(line, which) {
  const better = which === "better";
  const reason = line.querySelector("[data-shopsearch-reason]");
  const why = reason.textContent ? ` ${reason.parentElement.textContent}` : "";
  tell(better ? line.dataset.shopsearchMoved + why : line.dataset.shopsearchUndone);
  glide(line, () => arrange(line, which));
}

/** Change it so that the shopper sees what goes where; a change of places that is only drawn is no jump. */
function glide(line, change) {
  if (!line.isConnected || matchMedia("(prefers-reduced-motion: reduce)").matches) {
    change();
    return;
  }
  const found = foundOf(line);
  const list = listOf(line);
  const around = [list, ...found.querySelectorAll(".shopsearch-count, .shopsearch-more, .shopsearch-end")];
  const before = new Map([...around, ...list.children].map((each) => [each, placeOf(each, list)]));
  change();
  for (const [each, { x, y }] of before) {
    const after = placeOf(each, list);
    const by = `translate(${x - after.x}px, ${y - after.y}px)`;
    if (x !== after.x || y !== after.y) each.animate([{ transform: by }, { transform: "none" }], GLIDE);
  }
}

/** On the page, or, of a card, within the list, which glides itself. */
function placeOf(node, list) {
  const { left, top } = node.getBoundingClientRect();
  const origin = node.parentElement === list ? list.getBoundingClientRect() : { left: 0, top: 0 };
  return { x: left - origin.left, y: top - origin.top };
}

function tell(announcement) {
  document.dispatchEvent(new CustomEvent("shopsearch:reordered", { detail: { announcement } }));
}

// ---- reasons -----------------------------------------------------------------------------------------------------

/** Show what the first product shares with the search, as storefront/page_query.py does; or hide it. */
function explain(line, isHidden = false) {
  const list = foundOf(line).querySelector("[data-shopsearch-reasons]");
  list.hidden = isHidden;
  if (list.children.length || !reasonsOf.has(line)) return;
  const template = foundOf(line).querySelector("template[data-shopsearch-reason-chip]").content.firstElementChild;
  const address = new URL(list.dataset.shopsearchReasons, document.baseURI);
  const controls = reasonsOf.get(line).flatMap((reason) => reason.controls);
  const chips = controls.map((control) => [control, refined(address, control)]).filter(([, url]) => url);
  for (const [{ label, swatch }, url] of chips.slice(0, MOST_CHIPS)) {
    const chip = template.cloneNode(true);
    const link = chip.querySelector("a");
    link.href = url;
    if (swatch) link.querySelector("circle").setAttribute("fill", swatch);
    else link.querySelector("svg").remove();
    link.append(label);
    list.append(chip);
  }
}

/** The address of the search with this change; "" where the search is so already. */
function refined(address, { add, remove, filters }) {
  const url = new URL(address);
  const removed = new Set(remove.split(" "));
  const isRemoved = (typed) => (typed.toLowerCase().match(/\p{L}{3,}/gu) ?? [typed]).every((word) => removed.has(word));
  const words = (url.searchParams.get("q") ?? "").split(/\s+/).filter((word) => word && !isRemoved(word));
  url.searchParams.set("q", [...words, ...add.split(" ").filter(Boolean)].join(" "));
  for (const [name, value] of Object.entries(filters)) url.searchParams.set(name, value);
  const before = new URL(address);
  before.searchParams.set("q", (before.searchParams.get("q") ?? "").trim());
  return url.href === before.href ? "" : url.href;
}

// ---- when --------------------------------------------------------------------------------------------------------

/** Where a reason is longer than its place, a button shows the whole of it: the cards move by the shopper's own hand. */
const reasons = new ResizeObserver((changed) => {
  for (const { target } of changed) {
    const line = target.closest("[data-shopsearch-order]");
    if (line && target.scrollHeight > target.clientHeight + 1) line.dataset.shopsearchReason ??= "cut";
  }
});

function followAll() {
  for (const line of document.querySelectorAll("[data-shopsearch-order]")) {
    reasons.observe(line.querySelector(".shopsearch-order__text"));
    follow(line);
  }
}

document.addEventListener("shopsearch:arrived", ({ detail }) => {
  const line = detail.body.querySelector("[data-shopsearch-order]");
  if (line?.dataset.shopsearchRerank) detail.until = follow(line);
});
document.addEventListener("shopsearch:found", followAll);
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-shopsearch-reorder], [data-shopsearch-undo], [data-shopsearch-read-on]");
  if (!button) return;
  const line = button.closest("[data-shopsearch-order]");
  if (button.matches("[data-shopsearch-read-on]")) {
    line.dataset.shopsearchReason = "whole";
    line.querySelector("[data-shopsearch-undo]").focus({ preventScroll: true });
    return;
  }
  const again = button.matches("[data-shopsearch-reorder]");
  show(line, again ? "better" : "first");
  // The button is gone: go on at the other.
  line.querySelector(again ? "[data-shopsearch-undo]" : "[data-shopsearch-reorder]").focus({ preventScroll: true });
});
followAll();
