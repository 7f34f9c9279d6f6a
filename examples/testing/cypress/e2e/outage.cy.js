it('an order outlives an outage of the gateway, and is told once', () => {
  cy.lakegateFault({ status: 503, for_ms: 2000, retry_after: 1 });
  cy.visit('/');
  cy.contains('Pedir').click();
  cy.expectEvent('menu:item:ordered', { count: 1, timeoutMs: 20_000 });
});
