// What explains to a developer. Loaded only where `debug` is on, so that visitors do not pay for its texts.
import { checkMenu } from './check-menu.js';

export { tell } from './explain.js';

if (globalThis.document) checkMenu();
