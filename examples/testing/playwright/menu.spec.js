import { expect, test } from 'lakegate/testing/playwright';

test('an order is told, with its dish and its price', async ({ page, lakegate }) => {
  await page.goto('/');
  await page.getByRole('button', { name: 'Pedir' }).click();
  const [order] = await lakegate.expect('menu:item:ordered', { count: 1, where: { item_id: 'bacalhau-a-bras', price_minor: 1450 } });
  expect(order).toMatchObject({ restaurant_id: 'tasca-do-lago', menu_id: 'dinner', currency: 'EUR', action: 'order' });
  await lakegate.never('*', { status: 'rejected' });
});

test('a look at the menu orders nothing', async ({ page, lakegate }) => {
  await page.goto('/');
  await lakegate.expect('menu:page:opened');
  await lakegate.expect('menu:section:reached', { where: { section_id: 'mains' } });
  await lakegate.never('menu:item:ordered');
});
