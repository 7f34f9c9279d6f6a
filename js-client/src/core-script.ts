// The core as a plain script: `lakegate.createClient({ url, key })`.
import { createClient } from './index.js';

(self as any).lakegate = { createClient };
