// What is held of the console's messages, and who paints which kind of part.

export const held = {}              // place -> part
const painters = {}                 // kind -> painter of the part with a name

export function paints(kind, painter) { painters[kind] = painter }

// "list.incidents" is the part `incidents` of the kind `list`; "head" is a kind of one.
export function paint(place) {
  const dot = place.indexOf(".")
  const kind = dot < 0 ? place : place.slice(0, dot), name = place.slice(dot + 1)
  painters[kind]?.(name)
}

// All places say the same in other words: those of another time zone.
export function repaint() {
  for (const place of Object.keys(held)) if (place !== "view" && place !== "go") paint(place)
}
