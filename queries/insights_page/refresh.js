// A page that is served takes what is new into itself: no reload, so nothing flickers, and the chosen period, open tables and the place stay.
setInterval(async () => {
  const answer = await fetch(location.href, { cache: 'no-cache' }).catch(() => null);
  const tag = answer?.headers.get('etag');
  if (!answer?.ok || tag === window.shown) return;
  const known = window.shown;
  window.shown = tag;
  // The first answer is the page that is shown already, most likely; to take it in again does no harm.
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const chosen = document.querySelector('fieldset input:checked')?.id;
  const open = [...document.querySelectorAll('details')].map((details) => details.open);
  const focused = document.activeElement?.id;
  document.body.replaceChildren(...[...fresh.body.childNodes].filter((node) => node.nodeName !== 'SCRIPT'));
  document.documentElement.lang = fresh.documentElement.lang;
  document.title = fresh.title;
  const again = document.getElementById(chosen);
  if (again) again.checked = true;
  document.querySelectorAll('details').forEach((details, place) => (details.open = open[place] ?? false));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (known) dispatchEvent(new Event('refreshed'));
}, 2000);
