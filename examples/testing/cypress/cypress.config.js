import { defineConfig } from 'cypress';
import { lakegateTasks } from 'lakegate/testing/cypress';
import { serve } from '../shop/serve.mjs';

export default defineConfig({
  screenshotOnRunFailure: false,
  e2e: {
    specPattern: 'e2e/*.cy.js',
    supportFile: 'support/e2e.js',
    async setupNodeEvents(on, config) {
      lakegateTasks(on);
      const shop = await serve(0);
      return { ...config, baseUrl: `http://localhost:${shop.address().port}` };
    },
  },
});
