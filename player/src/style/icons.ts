/** The few pictures of these pages; each takes the colour of its text. */
import { svg, html, type TemplateResult } from 'lit';

const icon = (paths: TemplateResult): TemplateResult =>
  html`<svg class="icon" viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.8"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${paths}</svg>`;

export const icons = {
  send: icon(svg`<path d="M4 12 20 4l-4 16-4.5-6.5z"/><path d="m11.500 13.500 8-9"/>`),
  bin: icon(svg`<path d="M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7"/>`),
  down: icon(svg`<path d="M12 5v14m-6-6 6 6 6-6"/>`),
  download: icon(svg`<path d="M12 4v10.500m-4.500-4.500 4.500 4.500 4.500-4.500M5 19.500h14"/>`),
  people: icon(svg`<circle cx="9" cy="8.500" r="3.200"/><path d="M3.500 19c.5-3.500 2.800-5 5.500-5s5 1.500 5.500 5M15.500 5.600a3.200 3.200 0 0 1 0 5.800M17 14.300c2 .6 3.200 2.200 3.500 4.700"/>`),
  clock: icon(svg`<circle cx="12" cy="12" r="8"/><path d="M12 7.500V12l3 2"/>`),
  camera: icon(svg`<rect x="3" y="6.500" width="12" height="11" rx="2"/><path d="m15 11 6-3.500v9L15 13z"/>`),
  screen: icon(svg`<rect x="3" y="4.500" width="18" height="12" rx="2"/><path d="M9 20h6m-3-3.500V20"/>`),
  microphone: icon(svg`<rect x="9" y="3.500" width="6" height="10.500" rx="3"/><path d="M5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3"/>`),
  'microphone-off': icon(svg`<path d="M9 9v2a3 3 0 0 0 4.800 2.400M15 10.500v-4a3 3 0 0 0-5.800-1M5.500 11.500a6.500 6.500 0 0 0 10.300 5.300M18.200 13.500a6.500 6.500 0 0 0 .3-2M12 18v3M4.500 4l15 16"/>`),
  copy: icon(svg`<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M5.500 15H5a1.500 1.500 0 0 1-1.500-1.500V5A1.500 1.500 0 0 1 5 3.500h8.500A1.500 1.500 0 0 1 15 5v.5"/>`),
  reply: icon(svg`<path d="M9 7 4.500 11.500 9 16M5 11.500h8.500a5.500 5.500 0 0 1 5.500 5.500v1.500"/>`),
  more: icon(svg`<circle cx="6" cy="12" r="1.300" fill="currentColor"/><circle cx="12" cy="12" r="1.300" fill="currentColor"/><circle cx="18" cy="12" r="1.300" fill="currentColor"/>`),
  pause: icon(svg`<path d="M9 6v12M15 6v12"/>`),
  check: icon(svg`<path d="m5 12.500 4.500 4.500L19 7.500"/>`),
  play: icon(svg`<path d="M8 5.500v13l10.500-6.500z" fill="currentColor"/>`),
  gear: icon(svg`<circle cx="12" cy="12" r="3"/><path d="M12 3.500v2.200M12 18.300v2.200M3.500 12h2.200M18.300 12h2.200M6 6l1.600 1.600M16.400 16.400 18 18M18 6l-1.600 1.600M7.600 16.400 6 18"/><circle cx="12" cy="12" r="6.300"/>`),
  mute: icon(svg`<path d="M11 5.500 7 9H4v6h3l4 3.500zM16 9.500l5 5m0-5-5 5"/>`),
  chat: icon(svg`<path d="M4 5.500h16v11H10l-4 3.500v-3.500H4z"/>`),
  question: icon(svg`<path d="M4 4.500h16v12H13l-4 3.500v-3.500H4z"/><path d="M9.800 8.600a2.200 2.200 0 1 1 3.200 2c-.7.4-1 .8-1 1.400M12 14h.01"/>`),
  poll: icon(svg`<path d="M5 19V11M12 19V5M19 19v-6"/>`),
  shield: icon(svg`<path d="M12 3.500 19 6v5.500c0 4.200-2.800 7.300-7 9-4.200-1.700-7-4.800-7-9V6z"/><path d="m9 12 2.200 2.200L15.200 10"/>`),
  pin: icon(svg`<path d="m14.500 4 5.500 5.500-3 1-3.500 3.500-.5 4.500L5.500 11l4.500-.5L13.500 7zM9.300 14.700 4.500 19.500"/>`),
  smile: icon(svg`<circle cx="12" cy="12" r="8.500"/><path d="M8.500 14c.8 1.400 2 2.100 3.500 2.100s2.700-.7 3.500-2.100M9 9.800h.01M15 9.800h.01"/>`),
  clip: icon(svg`<path d="m19 11.500-7 7a4.200 4.200 0 0 1-6-6l7.500-7.500a2.800 2.800 0 0 1 4 4L10 16.500a1.400 1.400 0 0 1-2-2l6.500-6.500"/>`),
  lock: icon(svg`<rect x="5.500" y="10.500" width="13" height="9" rx="2"/><path d="M8.500 10.500V8a3.500 3.500 0 0 1 7 0v2.500"/>`),
  hand: icon(svg`<path d="M8 12V6.500a1.400 1.400 0 0 1 2.800 0V11m0-1V4.900a1.400 1.400 0 0 1 2.800 0V11m0-.5V6.200a1.400 1.400 0 0 1 2.800 0V14c0 4-2 6.500-5.200 6.500-2.700 0-4.100-1.300-5.300-3.700l-2-4a1.300 1.300 0 0 1 2.200-1.400L8 13.500"/>`),
  close: icon(svg`<path d="m6.500 6.500 11 11m0-11-11 11"/>`),
  up: icon(svg`<path d="m6 14 6-6.500 6 6.500z" fill="currentColor"/>`),
  warning: icon(svg`<path d="M12 4 21 19.500H3zM12 10v4.500M12 17h.01"/>`),
  plus: icon(svg`<path d="M12 5v14M5 12h14"/>`),
  megaphone: icon(svg`<path d="M4 10.500v3.500l3 .2L16 19V5.500L7 10zM18.500 9.500c1 1.500 1 4 0 5.500M7 14.200 8 19h2.500l-.8-3.600"/>`),
} as const;
