it('an order is told, with its dish and its price', () => {
  cy.visit('/');
  cy.contains('Pedir').click();
  cy.expectEvent('menu:item:ordered', { count: 1, where: { item_id: 'bacalhau-a-bras', price_minor: 1450 } })
    .its(0)
    .should('include', { restaurant_id: 'tasca-do-lago', menu_id: 'dinner', currency: 'EUR', action: 'order' });
  cy.neverEvent('*', { status: 'rejected' });
});

it('a look at the menu orders nothing', () => {
  cy.visit('/');
  cy.expectEvent('menu:page:opened');
  cy.expectEvent('menu:section:reached', { where: { section_id: 'mains' } });
  cy.neverEvent('menu:item:ordered');
});
