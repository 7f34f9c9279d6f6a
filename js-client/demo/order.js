// What the page itself does with an order; the tracking knows nothing of it.
const { ordered } = document.currentScript.dataset;
document.addEventListener('click', ({ target }) => {
  if (!target.matches('[data-menu-action=order]')) return;
  const label = target.textContent;
  target.textContent = `✓ ${ordered}`;
  target.disabled = true;
  setTimeout(() => {
    target.textContent = label;
    target.disabled = false;
  }, 1600);
});
