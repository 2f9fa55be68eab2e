// Charts under a finger: a swipe scrolls the page, a tap shows what a mouse that rests there would be shown.

export const isCoarse = matchMedia("(pointer: coarse)").matches
// A chart takes a move at once for the end of a tap, and what a tap has chosen is drawn a moment later, without the tip.
const RESTS_MS = [450, 1500]
let pointed = null                  // what the last tap pointed at

// Only an event of the window's knows how far the page is scrolled.
const at = (kind, {clientX, clientY}) =>
  new PointerEvent(kind, {view: window, clientX, clientY, isPrimary: true, pointerType: "mouse", bubbles: true, composed: true})

// A chart has its size: what would take a swipe for itself is put aside. A tap on a bar chooses its time all the same.
export function laid(figure) {
  if (!isCoarse) return
  for (const tool of figure.toolbar.tools) if (tool.active && tool.event_types?.includes("pan")) tool.active = false
  figure.toolbar.active_changed.emit()
}

document.addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "touch" || !pointed) return
  pointed.dispatchEvent(at("pointerout", event))
  pointed = null
}, {capture: true})

// Within a chart the page sees its frame alone; the path leads to what is drawn on.
document.addEventListener("click", (event) => {
  const path = event.composedPath()
  if (event.pointerType !== "touch" || !path.some((one) => one.matches?.(".chart"))) return
  const here = pointed = path[0]
  for (const ms of RESTS_MS) setTimeout(() => { if (pointed === here) here.dispatchEvent(at("pointermove", event)) }, ms)
})
