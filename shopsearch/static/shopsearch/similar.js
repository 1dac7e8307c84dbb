// Similar products, loaded once the page is there. Without an answer the page stays as it is.
for (const place of document.querySelectorAll("[data-shopsearch-similar]")) {
  fetch(place.dataset.shopsearchSimilar)
    .then((response) => (response.status === 200 ? response.text() : ""))
    .then((html) => place.insertAdjacentHTML("beforeend", html))
    .catch(() => {});
}
