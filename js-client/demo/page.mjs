// The menu as a page: static HTML, marked with data attributes, and the plain script. Nothing else is needed for tracking.
import { RESTAURANT, SECTIONS } from './dishes.mjs';
import { picture } from './pictures.mjs';

const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const price = (cents, language) => new Intl.NumberFormat(language === 'pt' ? 'pt-PT' : 'en', { style: 'currency', currency: 'EUR' }).format(cents / 100);

function dish([id, cents, pt, en, ptLine, enLine, recipe], tint, language) {
  const [name, line] = language === 'pt' ? [pt, ptLine] : [en, enLine];
  return `<article data-menu-item="${id}" data-menu-price="${cents}">
    ${picture(recipe, tint)}
    <div><h3>${escape(name)}</h3><p>${escape(line)}</p>
    <footer><span>${price(cents, language)}</span><button data-menu-action="order">${RESTAURANT.order[language]}</button></footer></div>
  </article>`;
}

/** The menu in `pt` or `en`, tracked for the gateway at `url` with the browser key `key`. */
export function menuPage(language, { url, key }) {
  const other = language === 'pt' ? 'en' : 'pt';
  return `<!doctype html>
<html lang="${language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${RESTAURANT.name}</title>
<link rel="stylesheet" href="/menu.css">
<header class="hero">
  <a class="language" href="/${other}" hreflang="${other}">${RESTAURANT.other[language]}</a>
  <svg viewBox="0 0 400 170" preserveAspectRatio="xMidYMax slice" aria-hidden="true">
    <circle cx="304" cy="58" r="30" fill="#ffe3a3"/><path d="M0 96Q70 40 140 84T280 72T400 90V170H0Z" fill="#2f6f73"/>
    <path d="M0 118Q100 96 200 116T400 112V170H0Z" fill="#1f5157"/><path d="M40 138h60M150 132h90M280 144h70M90 154h80" stroke="#ffe3a3" stroke-opacity=".35" stroke-width="3" stroke-linecap="round"/>
    <path d="M176 112h62l-12 14h-40ZM206 108V74l24 32Z" fill="#f6efe2"/></svg>
  <h1>${RESTAURANT.name}</h1><p>${RESTAURANT.line[language]}</p>
</header>
<nav>${SECTIONS.map(({ id, name }) => `<a href="#${id}">${name[language]}</a>`).join('')}</nav>
<main data-menu="dinner" data-menu-restaurant="${RESTAURANT.id}" data-menu-currency="EUR">
${SECTIONS.map(({ id, name, tint, items }) => `<section id="${id}" data-menu-section="${id}"><h2>${name[language]}</h2>
${items.map((item) => dish(item, tint, language)).join('\n')}</section>`).join('\n')}
</main>
<p class="foot">${RESTAURANT.foot[language]}</p>
<script defer src="/order.js" data-ordered="${RESTAURANT.ordered[language]}"></script>
<script defer src="/lakegate.js" data-url="${url}" data-key="${key}" data-flush-ms="500"></script>
</html>
`;
}
