/* A part of the shopper's picture: a frame to drag, to size and to move by keys, over the picture in a dialog.
 *
 * Where the shop has a detector, the parts in which it sees something are buttons. The dialog's link has the part in its address, in shares of width and height; results.js follows it as any other.
 */

const LEAST = 0.05; // of a side
const STEP = 0.02;
const LONGEST_SIDE = 1000; // of the canvas, in pixels
const THUMBNAIL = 112; // of a proposed part, in pixels
const PAUSE = 600; // milliseconds without a key before the part is said
const SIDES = ["left", "top", "width", "height"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let file = null; // of the picture that was searched with
let shown = ""; // the part of it
let part = { left: 0, top: 0, width: 1, height: 1 };
let drag = null; // {move(dx, dy), x, y}: what the pointer does, from where
let speech = 0; // timer
const known = new WeakMap(); // file -> the promise of what is in it

const clamp = (number, least, most) => Math.min(most, Math.max(least, number));
const dialogOf = (node) => (node instanceof Element ? node.closest("dialog[data-shopsearch-part]") : null);
const written = (number) => String(Math.round(number * 1000) / 1000);

document.addEventListener("shopsearch:found", ({ detail }) => {
  file = detail.picture?.file ?? null;
  shown = detail.picture?.part ?? "";
});

/** Take this part, as far as it is one, and show it: frame, numbers, address. */
function take(dialog, { left, top, width, height }) {
  part = { left: clamp(left, 0, 1 - LEAST), top: clamp(top, 0, 1 - LEAST) };
  part.width = clamp(width, LEAST, 1 - part.left);
  part.height = clamp(height, LEAST, 1 - part.top);
  const frame = dialog.querySelector("[data-shopsearch-frame]");
  for (const side of SIDES) {
    frame.style[side] = `${part[side] * 100}%`;
    dialog.querySelector(`[data-shopsearch-side="${side}"]`).value = Math.round(part[side] * 100);
  }
  const link = dialog.querySelector("[data-shopsearch-part-link]");
  const url = new URL(link.href);
  url.searchParams.set("box", SIDES.map((side) => written(part[side])).join(","));
  link.href = url.href;
}

/** What the server sees in a picture; asked for once, as long as the answer is good. */
function objectsIn(picture, address) {
  if (!known.has(picture)) {
    const body = new FormData();
    body.append("image", picture, picture.name || "picture");
    known.set(picture, fetch(address, { method: "POST", body }).then((response) => {
      if (!response.ok) throw new Error(response.statusText);
      return response.json();
    }));
    known.get(picture).catch(() => known.delete(picture));
  }
  return known.get(picture);
}

/** A button for each part in which something is seen; without any, nothing. */
async function propose(dialog) {
  const group = dialog.querySelector("[data-shopsearch-objects]");
  if (!group || group.children.length) return;
  const { objects } = await objectsIn(file, group.dataset.shopsearchObjects).catch(() => ({ objects: [] }));
  if (!group.isConnected || group.children.length) return;
  const picture = dialog.querySelector("canvas");
  group.append(...objects.map(({ box, label }, place) => {
    const [left, top, width, height] = box.split(",").map(Number);
    const button = Object.assign(document.createElement("button"), { type: "button", className: "shopsearch-part__object" });
    const name = group.dataset.shopsearchObject.replace("{number}", place + 1);
    button.setAttribute("aria-label", label ? `${name}: ${label}` : name);
    button.title = label;
    button.append(thumbnail(picture, { left, top, width, height }));
    button.addEventListener("click", () => {
      take(dialog, { left, top, width, height });
      tell(dialog);
    });
    return button;
  }));
  group.removeAttribute("aria-busy");
}

function thumbnail(picture, { left, top, width, height }) {
  const [w, h] = [width * picture.width, height * picture.height];
  const scale = THUMBNAIL / Math.max(w, h);
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.max(1, w * scale), height: Math.max(1, h * scale) });
  canvas.getContext("2d").drawImage(picture, left * picture.width, top * picture.height, w, h, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** Say the part to a screen reader. */
function tell(dialog) {
  const status = dialog.querySelector("[role=status]");
  status.textContent = SIDES.reduce(
    (sentence, side) => sentence.replace(`{${side}}`, Math.round(part[side] * 100)), status.dataset.shopsearchSentence,
  );
}

/** The frame keeps its size at the edges. */
const moved = ({ left, top, width, height }, dx, dy) => ({
  left: clamp(left + dx, 0, 1 - width), top: clamp(top + dy, 0, 1 - height), width, height,
});

/** Between two corners, however they lie to each other. */
const between = (x, y, otherX, otherY) => {
  const [left, right] = [x, otherX].map((each) => clamp(each, 0, 1)).sort((a, b) => a - b);
  const [top, bottom] = [y, otherY].map((each) => clamp(each, 0, 1)).sort((a, b) => a - b);
  return { left, top, width: right - left, height: bottom - top };
};

async function open(dialog) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return; // a format that only the server reads
  }
  const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height); // a small picture is shown large
  const canvas = dialog.querySelector("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const [left, top, width, height] = shown ? shown.split(",").map(Number) : [0.15, 0.15, 0.7, 0.7];
  take(dialog, { left, top, width, height });
  dialog.showModal();
  propose(dialog);
  dialog.querySelector("[data-shopsearch-frame]").focus();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-shopsearch-choose-part]");
  const dialog = dialogOf(event.target);
  if (opener && file) open(document.querySelector("dialog[data-shopsearch-part]"));
  else if (dialog && event.target.closest("a, [data-shopsearch-close]")) dialog.close();
});

// The page may be kept as text for Back, and a policy may forbid the styles in it.
document.addEventListener("close", ({ target }) => dialogOf(target)?.querySelector("[data-shopsearch-frame]").removeAttribute("style"), true);

// ---- the pointer -------------------------------------------------------------------------------------------------

document.addEventListener("pointerdown", (event) => {
  const stage = event.target.closest?.("[data-shopsearch-stage]");
  if (!stage || event.button) return;
  const box = stage.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width;
  const y = (event.clientY - box.top) / box.height;
  const start = { ...part };
  const right = start.left + start.width;
  const bottom = start.top + start.height;
  const corner = event.target.dataset.shopsearchCorner;
  let work = (dx, dy) => between(x, y, x + dx, y + dy); // a new frame
  if (corner) {
    const [fromX, toX] = corner.includes("left") ? [right, start.left] : [start.left, right];
    const [fromY, toY] = corner.includes("top") ? [bottom, start.top] : [start.top, bottom];
    work = (dx, dy) => between(fromX, fromY, toX + dx, toY + dy);
  } else if (event.target.closest("[data-shopsearch-frame]")) work = (dx, dy) => moved(start, dx, dy);
  drag = { stage, box, work, x: event.clientX, y: event.clientY };
  stage.setPointerCapture(event.pointerId);
  event.preventDefault(); // no selection
  stage.querySelector("[data-shopsearch-frame]").focus();
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const dx = (event.clientX - drag.x) / drag.box.width;
  const dy = (event.clientY - drag.y) / drag.box.height;
  if (Math.abs(dx) + Math.abs(dy) > 0.01) take(dialogOf(drag.stage), drag.work(dx, dy));
});

for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { drag = null; });

// ---- keys and numbers --------------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  const dialog = dialogOf(event.target);
  if (!arrow || !event.target.matches?.("[data-shopsearch-frame]") || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const [dx, dy] = arrow.map((each) => each * STEP);
  if (event.shiftKey) take(dialog, { ...part, width: part.width + dx, height: part.height + dy });
  else take(dialog, moved(part, dx, dy));
  clearTimeout(speech);
  speech = setTimeout(tell, PAUSE, dialog);
});

document.addEventListener("change", (event) => {
  const side = event.target.dataset?.shopsearchSide;
  const dialog = dialogOf(event.target);
  if (dialog && side) take(dialog, { ...part, [side]: (Number(event.target.value) || 0) / 100 });
});
