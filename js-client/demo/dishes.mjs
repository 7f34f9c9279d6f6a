// The menu of a restaurant that does not exist, in Portuguese and English. Prices in cents.
export const RESTAURANT = {
  id: 'tasca-do-lago',
  name: 'Tasca do Lago',
  line: { pt: 'Cozinha portuguesa à beira da água, desde 1974', en: 'Portuguese kitchen by the water, since 1974' },
  order: { pt: 'Pedir', en: 'Order' },
  ordered: { pt: 'Pedido', en: 'Ordered' },
  other: { pt: 'English', en: 'Português' },
  foot: { pt: 'Pão, azeite e azeitonas são por nossa conta. Bom apetite!', en: 'Bread, olive oil and olives are on us. Enjoy!' },
};

export const SECTIONS = [
  { id: 'appetizers', tint: '#f3e3c3', name: { pt: 'Entradas', en: 'Appetizers' }, items: [
    ['pataniscas', 850, 'Pataniscas de bacalhau', 'Salt cod fritters', 'Com arroz de feijão e limão', 'With bean rice and lemon', 'plate: slice #d9973f 66 48 20; slice #e0a552 92 52 -30; slice #d08b35 78 72 8; leaf #6f9a4a 104 76 40; ball #f2d43d 56 78'],
    ['gambas', 1250, 'Gambas ao alhinho', 'Garlic prawns', 'Alho, malagueta e coentros', 'Garlic, chilli and coriander', 'bowl #d98b2b: shrimp #ef7d57 64 52 10; shrimp #f08d68 94 54 80; shrimp #ea6f49 78 76 -40; leaf #5f8f3f 96 78 20; drop #c22f1d 66 72'],
    ['queijo', 1100, 'Queijo da Serra', 'Serra cheese', 'Amanteigado, com doce de abóbora', 'Runny, with pumpkin jam', 'board: wedge #f5d98a 66 58 0; ball #e4802b 108 50; ball #e4802b 116 66; leaf #6f9a4a 100 80 20'],
    ['chourico', 900, 'Chouriço assado', 'Flamed chouriço', 'Na aguardente, à mesa', 'In aguardente, at your table', 'board: slice #9c2f1f 56 46 -20; slice #a63624 80 44 -20; slice #9c2f1f 104 42 -20; slice #a63624 66 68 -20; slice #9c2f1f 92 66 -20; leaf #6f9a4a 118 74 30'],
  ] },
  { id: 'soups', tint: '#dfe6c8', name: { pt: 'Sopas', en: 'Soups' }, items: [
    ['caldo-verde', 480, 'Caldo verde', 'Kale soup', 'Couve, batata e uma rodela de chouriço', 'Kale, potato and a slice of chouriço', 'bowl #7f9a3e: leaf #4f7a2a 64 50 20; leaf #5c8a31 96 56 -40; leaf #4f7a2a 76 76 70; slice #9c2f1f 84 62 10'],
    ['sopa-de-peixe', 750, 'Sopa rica de peixe', 'Rich fish soup', 'Peixe da lota, tomate e hortelã', 'Fish of the day, tomato and mint', 'bowl #d2642c: slice #fbeee0 66 52 30; slice #fbeee0 94 66 -20; shrimp #f08d68 82 78 20; leaf #5f8f3f 96 46 10'],
    ['canja', 520, 'Canja de galinha', 'Chicken broth', 'Com hortelã e limão', 'With mint and lemon', 'bowl #e8c766: ball #f6e6b0 66 56; ball #f6e6b0 92 70; leaf #5f8f3f 84 48 10; slice #f7efe0 78 72 30'],
  ] },
  { id: 'mains', tint: '#f1d2c0', name: { pt: 'Pratos principais', en: 'Mains' }, items: [
    ['bacalhau-a-bras', 1450, 'Bacalhau à Brás', 'Bacalhau à Brás', 'Desfiado com ovo e batata palha', 'Shredded with egg and straw potatoes', 'plate #e8c25a: slice #f4dc8f 66 52 60; slice #d9a441 92 50 -50; slice #f4dc8f 84 70 10; ball #2e2a26 70 72; ball #2e2a26 98 68; leaf #6f9a4a 80 56 20'],
    ['polvo', 1980, 'Polvo à lagareiro', 'Octopus à lagareiro', 'Batatas a murro, azeite e alho', 'Smashed potatoes, olive oil and garlic', 'plate #a9b04c: shrimp #8f3b57 66 52 20; shrimp #9c4563 92 50 100; shrimp #8f3b57 78 76 -60; ball #e3b866 104 74; ball #e3b866 54 72'],
    ['robalo', 1850, 'Robalo grelhado', 'Grilled sea bass', 'Inteiro, com legumes da horta', 'Whole, with garden vegetables', 'plate: fish #8fa3ad 78 54 -8; leaf #5f8f3f 62 82 10; ball #e4802b 88 82; leaf #6f9a4a 106 78 -30'],
    ['bife', 1690, 'Bife à portuguesa', 'Portuguese steak', 'Ovo a cavalo e molho de vinho', 'With an egg on top and wine sauce', 'plate #6d3320: steak #7a3b22 78 60 0; egg - 82 56 0; slice #e8b64c 108 82 30; slice #e8b64c 52 82 -30'],
    ['arroz-de-tomate', 1280, 'Arroz de tomate e legumes', 'Tomato rice and vegetables', 'Malandrinho, sem carne', 'Loose and juicy, no meat', 'bowl #c9452b: ball #f7ead2 64 50; ball #f7ead2 94 52; ball #f7ead2 72 76; leaf #5f8f3f 92 74 30; ball #6f9a4a 82 62'],
  ] },
  { id: 'desserts', tint: '#f5dfe3', name: { pt: 'Sobremesas', en: 'Desserts' }, items: [
    ['pastel-de-nata', 220, 'Pastel de nata', 'Custard tart', 'Morno, com canela', 'Warm, with cinnamon', 'plate: tart #f2c14e 64 52 0; tart #f2c14e 98 54 20; tart #f2c14e 80 80 50'],
    ['arroz-doce', 420, 'Arroz doce', 'Rice pudding', 'Com desenho de canela', 'With a drawing in cinnamon', 'bowl #f8ecd2: drop #8a4b21 66 52; drop #8a4b21 78 48; drop #8a4b21 90 52; drop #8a4b21 66 68; drop #8a4b21 78 72; drop #8a4b21 90 68'],
    ['mousse', 450, 'Mousse de chocolate', 'Chocolate mousse', 'A da avó, e não muda', "Grandmother's, and it stays so", 'bowl #4a2a1c: ball #6b4029 70 56; ball #6b4029 92 64; drop #f2d9b0 80 50; leaf #6f9a4a 84 78 0'],
  ] },
  { id: 'drinks', tint: '#d8e2ec', name: { pt: 'Bebidas', en: 'Drinks' }, items: [
    ['vinho-verde', 380, 'Vinho verde, copo', 'Vinho verde, glass', 'Fresco e leve', 'Cool and light', 'glass #e9efb0: drop #fff 72 46; drop #fff 88 52'],
    ['douro-tinto', 490, 'Douro tinto, copo', 'Douro red, glass', 'Frutos escuros e carvalho', 'Dark fruit and oak', 'glass #7b1e34: drop #b0566b 70 46'],
    ['limonada', 320, 'Limonada da casa', 'House lemonade', 'Com hortelã e gengibre', 'With mint and ginger', 'glass #f6e27a: leaf #5f8f3f 78 44 20; drop #fff 90 52'],
    ['ginjinha', 300, 'Ginjinha de Óbidos', 'Ginjinha', 'Licor de ginja, com elas', 'Sour cherry liqueur, with the cherries', 'glass #a01b2e: ball #5c0f1b 76 54'],
  ] },
];
