import { test } from 'lakegate/testing/playwright';

test('an order outlives an outage of the gateway, and is told once', async ({ page, lakegate }) => {
  await lakegate.fault({ status: 503, for_ms: 2000, retry_after: 1 });
  await page.goto('/');
  await page.getByRole('button', { name: 'Pedir' }).click();
  await lakegate.expect('menu:item:ordered', { count: 1, timeoutMs: 20_000 });
});
