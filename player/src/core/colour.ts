/** The colour of a person: a hue, the same everywhere. Lightness and chroma are the style sheet's (`.name`, `.portrait`). */
export function hueOf(id: string): number {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 360;
  return hash;
}
