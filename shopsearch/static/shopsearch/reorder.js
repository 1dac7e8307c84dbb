/* The better order: asks for the rerank until it is done, then moves the cards to their new places.
 *
 * The line above the results ([data-shopsearch-order]) says how far it is: "waiting", "offered", "shown", or "kept" where
 * nothing came of it. Tells the boxes by "shopsearch:reordered" {announcement}. Never moves what the shopper points at.
 */

const FIRST_WAIT = 100; // milliseconds
const LONGEST_WAIT = 1000;
const FINAL = ["done", "failed", "expired"];

const followed = new WeakSet(); // lines whose rerank is being asked for
const orders = new WeakMap(); // line -> {better, first}: product ids in the two orders

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const listOf = (line) => line.closest("[data-shopsearch-found]").querySelector("[data-shopsearch-list]");
const idOf = (cell) => cell.dataset.productId;

function whenVisible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  }).then(whenVisible);
}

// ---- asking ------------------------------------------------------------------------------------------------------

/** The address of the rerank: on the line, or, where the page came whole, from the server: nobody asked for it yet. */
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
    if (!line.isConnected) return null;
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
  if (!line.isConnected) return; // the shopper may come back to it
  line.dataset.shopsearchOrder = "kept";
  if (rerank?.state === "done") take(rerank, line);
}

// ---- moving ------------------------------------------------------------------------------------------------------

function take({ order, caption, reason }, line) {
  const cells = [...listOf(line).children];
  const better = order.map(String);
  if (arranged(cells, better).every((cell, place) => cell === cells[place])) return;
  orders.set(line, { better, first: cells.map(idOf) });
  line.querySelector("[data-shopsearch-reason]").textContent = reason;
  line.querySelector("[data-shopsearch-caption]").textContent = caption;
  if (isInUse(listOf(line))) {
    line.dataset.shopsearchOrder = "offered";
    tell(line.dataset.shopsearchReady);
  } else {
    show(line, "better");
  }
}

/** Whether the shopper points at a card, is at one with the keyboard, or has scrolled into them. */
function isInUse(list) {
  return list.matches(":hover") || list.contains(document.activeElement) || list.getBoundingClientRect().top < 0;
}

/** The cells in the order of these products; those of no such product follow as they are. */
function arranged(cells, ids) {
  const places = new Map(ids.map((id, place) => [id, place]));
  const place = (cell) => places.get(idOf(cell)) ?? ids.length;
  return [...cells].sort((one, other) => place(one) - place(other));
}

/** Afterwards, the cards are in the better order, or in the first again. */
async function show(line, which) {
  const list = listOf(line);
  const before = [...list.children];
  const after = arranged(before, orders.get(line)[which]);
  const better = which === "better";
  const reason = line.querySelector("[data-shopsearch-reason]");
  const why = reason.textContent ? ` ${reason.parentElement.textContent}` : "";
  tell(better ? line.dataset.shopsearchMoved + why : line.dataset.shopsearchUndone);
  await seen(before.filter((cell, place) => after[place] !== cell), () => {
    line.dataset.shopsearchOrder = better ? "shown" : "offered";
    for (const cell of after) list.moveBefore ? list.moveBefore(cell, null) : list.append(cell);
  });
}

/** Move them so that the shopper sees which card goes where. */
async function seen(cells, move) {
  if (!document.startViewTransition || matchMedia("(prefers-reduced-motion: reduce)").matches) {
    move();
    return;
  }
  cells.forEach((cell, place) => { cell.style.viewTransitionName = `shopsearch-${place}`; });
  const transition = document.startViewTransition(move);
  transition.ready.catch(() => {}); // a hidden page moves them at once
  transition.finished.finally(() => {
    for (const cell of cells) cell.style.viewTransitionName = "";
  });
  await transition.updateCallbackDone;
}

function tell(announcement) {
  document.dispatchEvent(new CustomEvent("shopsearch:reordered", { detail: { announcement } }));
}

// ---- when --------------------------------------------------------------------------------------------------------

function followAll() {
  for (const line of document.querySelectorAll("[data-shopsearch-order]")) follow(line);
}

document.addEventListener("shopsearch:found", followAll);
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-shopsearch-reorder], [data-shopsearch-undo]");
  if (!button) return;
  const line = button.closest("[data-shopsearch-order]");
  const again = button.matches("[data-shopsearch-reorder]");
  await show(line, again ? "better" : "first");
  // The button is gone: go on at the other.
  line.querySelector(again ? "[data-shopsearch-undo]" : "[data-shopsearch-reorder]").focus({ preventScroll: true });
});
followAll();
