/** The colour of a person: a hue, the same everywhere. Lightness and chroma are the style sheet's (`.name`, `.portrait`). */
export function hueOf(id: string): number {
  // FNV-1a: ids that differ in one letter are far apart.
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i += 1) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % 360;
}
