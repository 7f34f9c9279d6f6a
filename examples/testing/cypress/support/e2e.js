import { lakegateCommands } from 'lakegate/testing/cypress';

lakegateCommands();
beforeEach(() => cy.lakegateReset());
