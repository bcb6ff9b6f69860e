/** Style sheets for shadow roots: constructed, so a page's policy needs no inline styles for them. */
import { unsafeCSS, type CSSResult } from 'lit';
import base from './base.css?inline';

export const sheet = (css: string): CSSResult => unsafeCSS(css);

export const baseStyles = sheet(base);
