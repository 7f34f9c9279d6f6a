// The dishes, drawn as SVG: a plate, a bowl or a glass, and what lies in it.
const PALETTE = { rim: '#fffdf8', shade: '#e9dfcd', board: '#b98255' };

const at = (x, y, turn, inner) => `<g transform="translate(${x} ${y}) rotate(${turn})">${inner}</g>`;
const blob = (fill, rx, ry = rx) => `<ellipse rx="${rx}" ry="${ry}" fill="${fill}"/>`;

/** What lies on a plate: each is drawn around 0, 0. */
const THINGS = {
  ball: (fill) => blob(fill, 9) + `<ellipse cx="-3" cy="-3" rx="3" ry="2" fill="#fff" opacity=".45"/>`,
  slice: (fill) => `<rect x="-13" y="-6" width="26" height="12" rx="6" fill="${fill}"/><rect x="-9" y="-3" width="18" height="2" rx="1" fill="#fff" opacity=".35"/>`,
  leaf: (fill) => `<path d="M-11 0Q0-10 11 0Q0 10-11 0Z" fill="${fill}"/><path d="M-9 0H9" stroke="#fff" stroke-opacity=".4"/>`,
  fish: (fill) => `<path d="M-30 0Q-6-17 20-2L32-11V11L20 2Q-6 17-30 0Z" fill="${fill}"/><circle cx="-20" cy="-2" r="2" fill="#2b2b2b"/><path d="M-10-7q4 7 0 14M0-7q4 7 0 14M10-5q3 5 0 10" stroke="#fff" stroke-opacity=".5" fill="none"/>`,
  steak: (fill) => `<path d="M-27 4Q-30-15-6-16Q25-19 27 2Q22 19-4 15Q-22 17-27 4Z" fill="${fill}"/><path d="M-15-8l8 20M-3-11l8 23M9-11l7 18" stroke="#3b1d12" stroke-opacity=".4" stroke-width="3"/>`,
  shrimp: (fill) => `<path d="M-12 6Q-12-12 5-10Q17-6 11 6" fill="none" stroke="${fill}" stroke-width="8" stroke-linecap="round"/><path d="M11 6l7 6" stroke="${fill}" stroke-width="4" stroke-linecap="round"/>`,
  egg: () => blob('#fffaf0', 16, 13) + `<circle r="6" fill="#f6b73c"/>`,
  tart: (fill) => `<circle r="15" fill="#d89a4e"/><circle r="12" fill="${fill}"/><circle cx="-3" cy="-3" r="4" fill="#7a3f16" opacity=".6"/><circle cx="5" cy="3" r="2.5" fill="#7a3f16" opacity=".6"/>`,
  wedge: (fill) => `<path d="M-26 12L22-14Q30 0 22 14Z" fill="${fill}"/><path d="M-26 12L22 14" stroke="#fff" stroke-opacity=".5" stroke-width="2"/>`,
  drop: (fill) => blob(fill, 3),
};

const VESSELS = {
  plate: (sauce, things) => `<ellipse cx="80" cy="64" rx="62" ry="50" fill="#000" opacity=".10"/>
    <circle cx="80" cy="60" r="52" fill="${PALETTE.rim}"/><circle cx="80" cy="60" r="39" fill="none" stroke="${PALETTE.shade}" stroke-width="2"/>
    ${sauce ? `<path d="M52 58Q58 32 84 36Q112 38 110 62Q106 86 80 84Q54 84 52 58Z" fill="${sauce}"/>` : ''}${things}`,
  bowl: (soup, things) => `<ellipse cx="80" cy="66" rx="60" ry="46" fill="#000" opacity=".10"/>
    <circle cx="80" cy="60" r="50" fill="#c4623f"/><circle cx="80" cy="60" r="43" fill="#8e3f26"/><circle cx="80" cy="60" r="39" fill="${soup}"/>
    <path d="M52 44Q70 28 96 34" stroke="#fff" stroke-opacity=".35" stroke-width="4" fill="none" stroke-linecap="round"/>${things}`,
  board: (_, things) => `<rect x="22" y="26" width="120" height="72" rx="14" fill="#000" opacity=".10"/><rect x="20" y="22" width="120" height="72" rx="14" fill="${PALETTE.board}"/>
    <path d="M28 40h104M28 58h104M28 76h104" stroke="#fff" stroke-opacity=".12" stroke-width="3"/>${things}`,
  glass: (wine, things) => `<ellipse cx="80" cy="110" rx="30" ry="5" fill="#000" opacity=".12"/><path d="M52 16h56q4 44-28 48q-32-4-28-48Z" fill="#fff" opacity=".75"/>
    <path d="M54 34h52q-2 28-26 30q-24-2-26-30Z" fill="${wine}"/><path d="M80 64v40M62 108q18-8 36 0Z" stroke="#fff" stroke-width="5" fill="#fff"/>${things}`,
};

/** `vessel sauce: thing fill x y turn; …` */
export function picture(recipe, background) {
  const [head, rest = ''] = recipe.split(':');
  const [vessel, sauce] = head.trim().split(/\s+/);
  const things = rest.split(';').filter((part) => part.trim()).map((part) => {
    const [thing, fill, x, y, turn = 0] = part.trim().split(/\s+/);
    return at(x, y, turn, THINGS[thing](fill));
  });
  return `<svg viewBox="0 0 160 120" aria-hidden="true"><rect width="160" height="120" fill="${background}"/>${VESSELS[vessel](sauce, things.join(''))}</svg>`;
}
