/* The box: words and a picture by file dialog, camera, drop, paste or link.
 *
 * All listeners are the document's, so that boxes which come later, or come twice, work as well. What is asked for goes
 * out as the event "shopsearch:search"; whoever cancels it (results.js) answers it, else the form is posted as it is.
 * The picture is the page's, not a box's: every box shows it. No module is imported, so that file names with a hash work.
 */

const LONGEST_SIDE = 1600; // pixels; no embedder looks closer
const HEAVY = 1024 * 1024; // bytes: what the tab's storage surely takes
const THUMBNAIL = 192;
const PAUSE = 2000; // milliseconds between two sentences that a screen reader says

let picture = null; // {id, file, part, thumbnail}: thumbnail is a canvas, or null where the browser cannot read the file
let reading = 0; // the latest file that is being read: an earlier one comes too late
let asked = new WeakMap(); // box -> its words when the search began
let isBusy = false;
let heard = 0; // when the latest sentence has been said
const unsaid = []; // timers of sentences to come
let lastUsed = null;
let dragged = ""; // the address of a picture of this page on its way to a box

const boxes = () => [...document.querySelectorAll("form[data-shopsearch]")];
const boxOf = (node) => (node instanceof Element ? node.closest("form[data-shopsearch]") : null);
const isVisible = (box) => box.getClientRects().length > 0;

/** The box that an event of the page is meant for. */
function receiver(event) {
  const candidates = [boxOf(event?.target), lastUsed?.isConnected ? lastUsed : null, ...boxes()].filter(Boolean);
  return candidates.find(isVisible) ?? candidates[0];
}

function tell(box, { error = "", status = "", retry = null }) {
  for (const each of boxes()) {
    const message = each.querySelector("[data-shopsearch-message]");
    message.textContent = each === box ? error : "";
    if (retry && each === box) message.append(" ", retry);
    each.querySelector("[data-shopsearch-status]").textContent = "";
  }
  for (const each of unsaid.splice(0)) clearTimeout(each); // of the page before
  heard = 0;
  announce(box, status);
}

/** One after the other: what follows at once would take the place of what nobody has heard yet. */
function announce(box, status) {
  if (!status || !box) return;
  const now = performance.now();
  const at = Math.max(now, heard);
  heard = at + PAUSE;
  unsaid.push(setTimeout(() => { box.querySelector("[data-shopsearch-status]").textContent = status; }, at - now));
}

// ---- the picture -------------------------------------------------------------------------------------------------

function canvasOf(bitmap, width, height, crop = [0, 0, bitmap.width, bitmap.height]) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // what is transparent is searched as white; the server does the same
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...crop, 0, 0, width, height);
  return canvas;
}

/** The middle of the part that is meant, a square. */
function thumbnailOf(bitmap, part) {
  const [left, top, width, height] = (part || "0,0,1,1").split(",").map(Number);
  const [wide, high] = [bitmap.width * width, bitmap.height * height];
  const side = Math.min(wide, high);
  const crop = [bitmap.width * left + (wide - side) / 2, bitmap.height * top + (high - side) / 2, side, side];
  return canvasOf(bitmap, THUMBNAIL, THUMBNAIL, crop);
}

/** The file, or a smaller one of the same picture where that saves the shopper time. */
async function shrunk(file, bitmap) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.size <= HEAVY) return file;
  const size = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const blob = await new Promise((resolve) => canvasOf(bitmap, ...size).toBlob(resolve, "image/jpeg", 0.88));
  return blob && blob.size < file.size ? new File([blob], "picture.jpg", { type: "image/jpeg" }) : file;
}

async function read(file, id = `${Date.now()}`, part = "") {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
    return { id, file: await shrunk(file, bitmap), part, thumbnail: thumbnailOf(bitmap, part) };
  } catch {
    return { id, file, part, thumbnail: null }; // a format that only the server reads, or no picture: the server says which
  } finally {
    bitmap?.close();
  }
}

/** Show the picture in every box, or that there is none. */
function paint() {
  for (const box of boxes()) {
    const chip = box.querySelector("[data-shopsearch-chip]");
    const text = box.elements.q;
    text.dataset.shopsearchPlaceholder ??= text.placeholder;
    if (picture) {
      chip.replaceChildren(box.querySelector("template[data-shopsearch-preview]").content.cloneNode(true));
      const canvas = chip.querySelector("canvas");
      if (picture.thumbnail) canvas.getContext("2d").drawImage(picture.thumbnail, 0, 0, canvas.width, canvas.height);
    } else if (chip.querySelector("canvas")) {
      chip.replaceChildren();
    }
    chip.hidden = chip.childElementCount === 0; // there may be a picture of the shop
    text.placeholder = chip.hidden ? text.dataset.shopsearchPlaceholder : text.dataset.shopsearchRefine;
  }
  for (const canvas of document.querySelectorAll("canvas[data-shopsearch-query-picture]")) {
    canvas.hidden = picture?.thumbnail === null; // its place is kept while it is read
    if (picture?.thumbnail) canvas.getContext("2d").drawImage(picture.thumbnail, 0, 0);
  }
}

/** Search with this file, at once. */
async function take(file, box) {
  if (!box || !file) return;
  if (file.type && !file.type.startsWith("image/")) {
    tell(box, { error: box.dataset.shopsearchNoPicture });
    return;
  }
  tell(box, {});
  reading += 1;
  const mine = reading;
  const taken = await read(file);
  if (mine !== reading) return; // replaced or cleared meanwhile
  picture = taken;
  hold([]); // a search of its own
  paint();
  box.requestSubmit();
}

/** Search with a picture of this site, by its address. */
async function takeFrom(address, box) {
  const url = new URL(address, document.baseURI);
  reading += 1;
  const mine = reading;
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(response.statusText);
    const file = new File([await response.blob()], url.pathname.split("/").pop() || "picture");
    if (mine === reading) await take(file, box);
  } catch {
    if (mine === reading) tell(box, { error: box.dataset.shopsearchUnreachable });
  }
}

/** Every box posts the examples of the results that are shown. */
function hold(examples) {
  for (const box of boxes()) {
    const inputs = examples.map(([name, value]) => Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    box.querySelector("[data-shopsearch-examples]")?.replaceChildren(...inputs);
  }
}

/** No picture any more, nor one that is on its way. */
function forget() {
  reading += 1;
  picture = null;
  document.dispatchEvent(new CustomEvent("shopsearch:cancel"));
}

function remove(box) {
  forget();
  paint();
  tell(box, { status: box.dataset.shopsearchRemoved });
  box.elements.q.focus();
  if (box.elements.q.value.trim() || box.elements.similar) box.requestSubmit();
}

// ---- asking ------------------------------------------------------------------------------------------------------

function addressOf(box) {
  const url = new URL(box.getAttribute("action"), document.baseURI);
  for (const [name, value] of new FormData(box)) {
    if (typeof value === "string" && value.trim() && !name.startsWith("box_")) url.searchParams.append(name, value.trim());
  }
  if (picture) {
    url.searchParams.set("picture", picture.id);
    if (picture.part) url.searchParams.set("box", picture.part);
  }
  return url;
}

document.addEventListener("submit", (event) => {
  const box = boxOf(event.target);
  if (!box) return;
  lastUsed = box;
  const url = addressOf(box);
  if (!picture && !url.searchParams.has("q") && !url.searchParams.has("similar")) {
    event.preventDefault();
    box.elements.q.focus();
    return;
  }
  if (picture) {
    const files = new DataTransfer(); // for the form that is posted as it is
    files.items.add(picture.file);
    box.querySelector("input[type=file]:not([capture])").files = files.files;
  }
  const question = new CustomEvent("shopsearch:search", { detail: { url: url.href, picture, box }, cancelable: true });
  if (!document.dispatchEvent(question)) event.preventDefault();
});

document.addEventListener("shopsearch:busy", ({ detail }) => {
  isBusy = detail.busy;
  if (isBusy) asked = new WeakMap(boxes().map((box) => [box, box.elements.q.value]));
  for (const box of boxes()) {
    box.toggleAttribute("data-shopsearch-waiting", isBusy);
    const clear = box.querySelector("button[type=reset]");
    clear.dataset.shopsearchLabel ??= clear.getAttribute("aria-label");
    clear.setAttribute("aria-label", isBusy ? box.dataset.shopsearchCancel : clear.dataset.shopsearchLabel);
  }
});

document.addEventListener("shopsearch:found", ({ detail }) => {
  const file = detail.picture?.file;
  if (!file) picture = null;
  else if (picture?.id !== detail.picture.id || picture.part !== detail.picture.part) {
    reading += 1;
    const mine = reading;
    read(file, detail.picture.id, detail.picture.part).then((each) => {
      if (mine !== reading) return;
      picture = each;
      paint();
    });
  }
  for (const box of boxes()) {
    // Words that were typed while the search was on its way are the shopper's next ones.
    if (asked.has(box) && asked.get(box) !== box.elements.q.value) continue;
    box.elements.q.value = detail.text;
  }
  asked = new WeakMap();
  hold(detail.examples);
  for (const box of boxes()) {
    const chip = box.querySelector("[data-shopsearch-chip]");
    chip.replaceChildren(...(detail.example ? [detail.example.cloneNode(true)] : []));
  }
  paint();
  tell(receiver(), { status: detail.announcement });
});

document.addEventListener("shopsearch:reordered", ({ detail }) => announce(receiver(), detail.announcement)); // an error stays

document.addEventListener("shopsearch:failed", ({ detail }) => {
  const box = receiver();
  if (picture && !picture.thumbnail) {
    picture = null; // neither the browser nor the server could read it
    paint();
  }
  tell(box, { error: detail.message || box.dataset.shopsearchUnreachable, retry: detail.retry });
});

// ---- where words and pictures come from --------------------------------------------------------------------------

document.addEventListener("focusin", (event) => { lastUsed = boxOf(event.target) ?? lastUsed; });

document.addEventListener("change", (event) => {
  if (!event.target.matches?.("form[data-shopsearch] input[type=file]")) return;
  const [file] = event.target.files;
  take(file, boxOf(event.target));
  event.target.value = ""; // so that the same file may be chosen again
});

document.addEventListener("reset", (event) => {
  const box = boxOf(event.target);
  if (!box) return;
  event.preventDefault(); // it would bring back the words that the page came with
  if (isBusy) {
    document.dispatchEvent(new CustomEvent("shopsearch:cancel"));
    return;
  }
  box.elements.q.value = "";
  forget();
  box.querySelector("[data-shopsearch-chip]").replaceChildren();
  hold([]);
  paint();
  tell(box, {});
  box.elements.q.focus();
});

document.addEventListener("click", (event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const removal = event.target.closest?.("button[data-shopsearch-remove]");
  if (removal) remove(boxOf(removal));
  const example = event.target.closest?.("a[data-shopsearch-picture]");
  if (example && receiver()) {
    event.preventDefault();
    takeFrom(example.dataset.shopsearchPicture, receiver());
  }
});

document.addEventListener("paste", (event) => {
  const elsewhere = event.target.closest?.("input, textarea, [contenteditable]");
  if (elsewhere && !boxOf(elsewhere)) return;
  const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  const box = receiver(event);
  if (!file || !box) return;
  event.preventDefault();
  take(file, box);
});

function showDropping(box) {
  for (const each of boxes()) each.toggleAttribute("data-shopsearch-dropping", each === box);
}

document.addEventListener("dragstart", (event) => {
  const nearest = (kind) => event.target.closest?.(kind);
  const source = nearest("a[data-shopsearch-picture]") ?? nearest("img") ?? event.target;
  const address = source.dataset?.shopsearchPicture ?? source.currentSrc ?? "";
  dragged = address && new URL(address, document.baseURI).origin === location.origin ? address : "";
});
document.addEventListener("dragend", () => { dragged = ""; showDropping(null); });
document.addEventListener("dragover", (event) => {
  const box = receiver(event);
  if (!box || !(dragged || event.dataTransfer?.types.includes("Files"))) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  showDropping(box);
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) showDropping(null); });
document.addEventListener("drop", (event) => {
  const box = receiver(event);
  showDropping(null);
  const [file] = event.dataTransfer?.files ?? [];
  if (!box || !(dragged || file)) return;
  event.preventDefault(); // the browser would leave the shop and show the file
  if (dragged) takeFrom(dragged, box);
  else take(file, box);
  dragged = "";
});

paint(); // a box may have come with a picture of the shop
