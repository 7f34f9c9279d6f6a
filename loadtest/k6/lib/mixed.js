// Half of the events in small batches from pages, half in batches of 100 from services; all of its shapes send this.

import exec from 'k6/execution';
import { FORMS, SERVICE_FORMS, post } from './client.js';
import { events } from './events.js';
import { spike, steady } from './shape.js';

const PAGE_BATCH = 3;
const SERVICE_BATCH = 100;

export const MIXED_RATE = 1_000_000 / 3600;

export const steadyMix = (rate) => ({
  pages: steady(rate / 2, PAGE_BATCH, 'pages'),
  services: steady(rate / 2, SERVICE_BATCH, 'services'),
});

export const spikingMix = (rate, times) => ({
  pages: spike(rate / 2, PAGE_BATCH, times, 'pages'),
  services: spike(rate / 2, SERVICE_BATCH, times, 'services'),
});

// 1 to 5 events, in turn.
export const pages = () => post(events(1 + (exec.scenario.iterationInTest % 5)), FORMS.page);

export const services = () => post(events(SERVICE_BATCH), SERVICE_FORMS[exec.scenario.iterationInTest % 4]);
