// The plain script: <script defer src="lakegate.js" data-url="…" data-key="…"></script>. Further options are attributes too:
// data-flush-ms, data-consent. It starts by itself, and `lakegate` is the client.
import { createClient, type Options } from './index.js';
import { menu } from './menu.js';

menu(((self as any).lakegate = createClient(document.currentScript!.dataset as unknown as Options)));
