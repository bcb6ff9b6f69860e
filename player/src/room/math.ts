/**
 * `<lectern-math>`: a formula as MathML. The library is loaded when the first formula is seen; until then, and where
 * the formula is none, its source stands there.
 */
import { LONGEST_MATH } from '../core/markup';

type Temml = typeof import('temml').default;

/** A formula of a message needs no definitions, and without them no formula can grow while it is read. */
const DEFINES = /\\(?:[gex]?def|let|futurelet|global|long|(?:re|provide)?newcommand|(?:re)?newenvironment|DeclareMathOperator)(?![a-zA-Z])/;
/** Expansions of the library's own macros; and lengths, in em and in points. */
const LIMITS = { maxExpand: 200, maxSize: [10, 60] as [number, number] };
const MATHML = 'http://www.w3.org/1998/Math/MathML';
/** Formulas that were set lately: a list that scrolls shows them again and again. */
const KEPT = 200;

const known = new Map<string, Element | null>();
let library: Promise<Temml> | null = null;

export class LecternMath extends HTMLElement {
  /** With its dollars: what it is known by. */
  #written = '';

  set formula({ source, fence }: { source: string; fence: string }) {
    const written = fence + source + fence;
    if (written === this.#written) return;
    this.#written = written;
    this.#show();
    if (!known.has(written)) this.#learn(source, fence.length > 1, written);
  }

  #show(): void {
    const set = known.get(this.#written);
    this.replaceChildren(set ? set.cloneNode(true) : this.#written);
    this.classList.toggle('source', !set);
  }

  #learn(source: string, display: boolean, written: string): void {
    void formulaOf(source, display).then(
      (element) => {
        keep(written, element);
        if (element && written === this.#written) this.#show();
      },
      (error: unknown) => console.warn('formulas cannot be shown', error),
    );
  }
}

/** null where it is no formula, or one that could harm the page. */
async function formulaOf(source: string, display: boolean): Promise<Element | null> {
  if (source.length > LONGEST_MATH || DEFINES.test(source)) return null;
  library ??= import('temml').then((module) => module.default);
  const temml = await library.catch((error: unknown) => {
    library = null; // The network may be back for the next one.
    throw error;
  });
  const box = document.createElement('span');
  try {
    temml.render(source, box, { displayMode: display, throwOnError: true, trust: false, strict: false, macros: {}, ...LIMITS });
  } catch {
    return null; // Not TeX: its source is shown.
  }
  const math = box.firstElementChild;
  return math && isMath(math) ? math : null;
}

/** MathML alone, and no links in it. */
const isMath = (root: Element): boolean => [root, ...root.querySelectorAll('*')].every((one) => one.namespaceURI === MATHML && !one.hasAttribute('href'));

function keep(key: string, element: Element | null): void {
  known.set(key, element);
  if (known.size > KEPT) known.delete(known.keys().next().value as string);
}

customElements.define('lectern-math', LecternMath);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-math': LecternMath;
  }
}
