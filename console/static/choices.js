// What the viewer chooses: it stands in the URL, and is told to the console.

import {isChanged} from "./boards.js"
import {declared} from "./declared.js"
import {held, paint, paints} from "./parts.js"

export function tell(what) {
  const wire = window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].get_model_by_name("wire")
  if (!wire) return false
  wire.up = JSON.stringify({...what, at: performance.now()})
  return true
}

export const parameters = () => new URLSearchParams(location.search)

export function onTab(query, tab) {
  if (tab === declared.home) query.delete("tab")
  else query.set("tab", tab)
  return query
}

export function go(query, {replace = false} = {}) {
  const text = query.replace(/^\?/, "")
  const url = text ? `?${text}` : location.pathname
  if (text !== location.search.replace(/^\?/, "")) history[replace ? "replaceState" : "pushState"]({}, "", url)
  const asked = new URLSearchParams(text)
  const tab = asked.get("tab") || declared.home
  if (isChanged(tab)) return location.reload()
  // What needs no answer is shown at once.
  const atOnce = {tab, zone: asked.get("zone") || "local", theme: asked.get("theme") === "light" ? "light" : "dark"}
  held.view = {...(held.view || {}), ...atOnce, without_effect: []}
  paint("view")
  chosen = text
  hand()
}

// What was chosen before the websocket stood is told once it does.
let chosen = null
function hand() {
  if (chosen === null || tell({view: chosen})) chosen = null
  else setTimeout(hand, 100)
}

export function choose(change, options) {
  const next = parameters(), page = next.get("page")
  change(next)
  // Another choice has other rows: the first of them.
  const looks = new Set(["theme", "zone", "kiosk"])
  const changed = [...new Set([...parameters().keys(), ...next.keys()])].filter((name) => !looks.has(name) && name !== "page"
    && String(parameters().getAll(name)) !== String(next.getAll(name)))
  if (changed.length && next.get("page") === page) next.delete("page")
  go(next.toString(), options)
}

export function toggle(name, value) {
  choose((next) => {
    const usual = declared.filters[name] ?? []
    const before = next.has(name) ? next.getAll(name) : usual
    const values = before.includes(value) ? before.filter((other) => other !== value) : [...before, value]
    next.delete(name)
    // What holds anyway is not named.
    if (values.length === usual.length && values.every((one) => usual.includes(one))) return
    for (const one of values) next.append(name, one)
  })
}

export function showSpan(since, until) {
  choose((next) => {
    next.delete("range")
    next.set("from", since.replace(".000Z", "Z")); next.set("to", until.replace(".000Z", "Z"))
  })
}

// A choice made on a chart: the console knows it already, only the URL lags.
paints("go", () => {
  const {query} = held.go
  if (query === null || query === location.search.replace(/^\?/, "")) return
  history.pushState({}, "", query ? `?${query}` : location.pathname)
})
