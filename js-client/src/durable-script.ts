// The plain script with storage that outlives a browser that is killed. As lakegate.js, but that `window.lakegate` is there some
// milliseconds later, when the storage has been read; the window's event `lakegate` says so.
import { durable } from './durable.js';
import { createClient, type Options } from './index.js';
import { menu } from './menu.js';

const options = document.currentScript!.dataset as unknown as Options;
durable().then((storage) => {
  menu(((self as any).lakegate = createClient({ ...options, storage })));
  dispatchEvent(new Event('lakegate'));
});
