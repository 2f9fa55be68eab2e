// Tiles: a figure, its change, its sparkline. And what an empty chart says.

import {say} from "./declared.js"
import {$, setAttribute, setText} from "./dom.js"
import {held, paints} from "./parts.js"

function paintTile(key) {
  const tile = held[`tile.${key}`]
  const element = $(`[data-tile="${key}"]`)
  if (!tile || !element) return
  element.classList.remove("skeleton")
  setText($(".value", element), tile.text)
  setAttribute($(".value", element), "title", tile.exact)
  setText($(".word", element), tile.word)
  const change = $(".change", element)
  setText(change, tile.why || tile.change || "\u00a0")
  change.className = `change ${tile.good === null ? "" : tile.good ? "better" : "worse"}`
  if (tile.base !== undefined) setText($(".base", element), tile.base || "\u00a0")
  setAttribute(element, "data-state", tile.state)
  setAttribute(element, "data-value", tile.value)
  setAttribute(element, "data-late", tile.stale)
  setAttribute(element, "data-produced-at", tile.produced_at)
  paintSpark(element, key, tile.tip)
}

function paintSpark(element, key, tip) {
  const values = [...((held[`spark.${key}`] || {}).values || []), tip]
  const known = values.filter((value) => value !== null && value !== undefined)
  const low = Math.min(...known, 0), high = (Math.max(...known, 0) - low) || 1
  const x = (index) => (index * 120 / Math.max(1, values.length - 1)).toFixed(1)
  const y = (value) => (26 - 24 * (value - low) / high).toFixed(1)
  let path = "", pen = false
  values.slice(0, -1).forEach((value, index) => {
    if (value === null) { pen = false; return }
    path += `${pen ? "L" : "M"}${x(index)} ${y(value)}`
    pen = true
  })
  const last = values.length - 1
  $(".line", element).setAttribute("d", path)
  const before = values[last - 1]
  $(".tip", element).setAttribute("d", tip === null || tip === undefined || before === null || before === undefined ? ""
    : `M${x(last - 1)} ${y(before)}L${x(last)} ${y(tip)}`)
}

paints("tile", paintTile)
paints("spark", paintTile)
paints("empty", () => {
  for (const [name, words] of Object.entries(held.empty)) setAttribute($(`[data-chart="${name}"]`), "data-empty", words)
})
