// The controls of the page: tabs, range, zone, theme, and all that is clicked.

import {choose, go, onTab, parameters, showSpan, tell, toggle} from "./choices.js"
import {declared, say} from "./declared.js"
import {$, setAttribute, setText} from "./dom.js"
import {paintTitle} from "./duty.js"
import {now} from "./head.js"
import {paintMoment} from "./moment.js"
import {held, paints, repaint} from "./parts.js"
import {fromInput, localInput, showZoneOf, zoneName, zoneOf} from "./times.js"

// A choice of one value: that which is not named in the URL, and what tells whether a tab heeds it.
const CHOICES = {last: {usual: "1h", heeded: "live"}, compare: {usual: "before", heeded: "compares"}}
let view = {}
// Times typed but not yet shown, as moments: what is written in the fields follows the zone, its meaning stays.
let draft = null

function keepDraft() {
  draft = ["from", "to"].map((id, index) => {
    const date = fromInput($(`#${id}`).value)
    return isNaN(date) ? (draft || view.span || [])[index] : date.toISOString()
  })
}

function paintView() {
  view = held.view || view
  const tab = view.tab || declared.home
  const turned = setZone(view.zone || "local")
  document.body.dataset.tab = tab
  paintTitle()
  for (const link of document.querySelectorAll("nav a")) {
    setAttribute(link, "aria-current", link.dataset.tab === tab ? "page" : null)
    // Opened in a tab of the browser, a tab keeps what was chosen too.
    setAttribute(link, "href", `?${onTab(parameters(), link.dataset.tab)}`)
  }
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== tab
  document.body.toggleAttribute("data-kiosk", Boolean(view.kiosk))
  scale()
  if (view.theme) document.documentElement.dataset.theme = view.theme
  const range = $("#range"), ranged = declared.tabs[tab]?.ranged
  if (document.activeElement !== range) range.value = view.span || draft ? "absolute" : (view.range || "live")
  range.closest("label").hidden = !ranged
  $("#absolute").hidden = !ranged || !(view.span || range.value === "absolute")
  for (const [name, {usual, heeded}] of Object.entries(CHOICES)) {
    const field = $(`#${name}`)
    if (document.activeElement !== field) field.value = view[name] || usual
    field.closest("label").hidden = !declared.tabs[tab]?.[heeded]
  }
  for (const base of document.querySelectorAll("#tiles .base")) setText(base, say(`base_${view.compare || "before"}`))
  const span = draft || view.span
  if (span) {
    for (const [id, iso] of [["from", span[0]], ["to", span[1]]]) {
      const input = $(`#${id}`)
      if ((turned || document.activeElement !== input) && iso) input.value = localInput(iso)
    }
  }
  setAttribute($("#freeze"), "aria-pressed", Boolean(view.at))
  paintMoment(view.at, turned)
  const notices = view.notices || []
  $("#notice").hidden = !notices.length
  setText($("#notice"), notices.join(" "))
  const idle = view.without_effect || []
  $("#without-effect").hidden = !idle.length
  setText($("#without-effect"), say("kept", {kept: idle.join("; ")}))
}

// A screen on a wall is read from afar: all grows with its width. Charts measure themselves as if nothing were zoomed,
// so what zooms them is taken back, and their words grow by themselves.
let zoom = 1
export function scale() {
  const wanted = document.body.hasAttribute("data-kiosk") ? Math.max(1, innerWidth / 1600) : 1
  if (wanted === 1 && zoom === 1) return
  zoom = wanted
  document.body.style.zoom = zoom
  document.body.style.setProperty("--zoom", zoom)
  for (const doc of (window.Bokeh || {documents: []}).documents) {
    for (const model of doc._all_models.values()) {
      if (model.type.endsWith("Axis")) model.major_label_text_font_size = `${Math.round(12 * zoom)}px`
      if (model.type === "Figure" || model.type === "Plot") model.min_border_left = Math.round(52 * zoom)
    }
  }
}

function paintZone() {
  const button = $("#zone")
  setText(button, zoneName())
  setAttribute(button, "aria-pressed", zoneOf() !== "local")
  setAttribute(button, "title", declared.zones.find(([name]) => name === zoneOf())[1])
}

function setZone(name) {
  const before = zoneOf()
  showZoneOf(name)
  const turned = before !== zoneOf()
  if (turned) {
    repaint()
    redrawAxes()
  }
  paintZone()
  return turned
}

function redrawAxes() {
  for (const doc of (window.Bokeh || {documents: []}).documents) {
    for (const model of doc._all_models.values()) if (model.type === "CustomJSTickFormatter") model.change.emit()
  }
}

// Goes to an address within the page, and keeps how it is looked at; what else was chosen is left behind.
export function follow(address, ranged = false) {
  const target = new URLSearchParams(address.replace(/^\?/, ""))
  const kept = ["theme", "zone", "at", "kiosk", ...Object.keys(CHOICES), ...(ranged ? ["range", "from", "to"] : [])]
  for (const name of kept) if (parameters().has(name)) target.set(name, parameters().get(name))
  draft = null
  go(target.toString())
}

function clicked(event) {
  const at = (selector) => event.target.closest(selector)
  const link = at("a[data-tab], a[data-go]")
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault()
    if (link.dataset.tab !== undefined) choose((next) => onTab(next, link.dataset.tab))
    else follow(link.getAttribute("href"), link.dataset.go === "ranged")
  }
  const row = at("[data-choose]")
  if (row && !event.ctrlKey && !event.metaKey) {
    event.preventDefault()
    const {choose: name, value} = row.dataset
    choose((next) => next.get(name) === value ? next.delete(name) : next.set(name, value))
  }
  const chip = at("[data-toggle]")
  if (chip) toggle(chip.dataset.toggle, chip.dataset.value)
  const clear = at("[data-clear]")
  if (clear) choose((next) => { for (const name of clear.dataset.clear.split(" ")) next.delete(name) })
  const range = at("[data-range]")
  if (range) { draft = null; showSpan(...range.dataset.range.split("~")) }
}

function rangeChosen(event) {
  const value = event.target.value
  event.target.blur()
  if (value === "absolute") {
    $("#absolute").hidden = false
    const asOf = held.head && held.head.as_of ? Date.parse(held.head.as_of) : Date.now()
    if (!$("#from").value) {
      $("#from").value = localInput(new Date(asOf - 3600e3).toISOString())
      $("#to").value = localInput(new Date(asOf).toISOString())
    }
    keepDraft()
    $("#from").focus()
    return
  }
  draft = null
  choose((next) => {
    for (const name of ["from", "to"]) next.delete(name)
    if (value === "live") next.delete("range")
    else next.set("range", value)
  })
}

function oneChosen({target}) {
  const {id: name, value} = target
  target.blur()
  choose((next) => value === CHOICES[name].usual ? next.delete(name) : next.set(name, value))
}

function spanTyped(event) {
  event.preventDefault()
  const since = fromInput($("#from").value), until = fromInput($("#to").value)
  document.activeElement.blur()
  if (!(since < until)) { $("#notice").hidden = false; setText($("#notice"), say("backwards")); return }
  draft = null
  showSpan(since.toISOString(), until.toISOString())
}

// Hold this moment, with an address that others can open; or go back to now.
export function freeze() {
  // An address may name a moment that cannot be shown: then now is, and may be held.
  choose((next) => next.has("at") && view.at ? next.delete("at") : next.set("at", now().toISOString().replace(".000Z", "Z")))
}

// A text to find, once it is typed: by Enter, by the field's own cross, or by leaving it.
function searched(event) {
  const name = event.target.dataset?.search
  if (name === undefined) return
  const text = event.target.value.trim()
  if (text !== (parameters().get(name) ?? "")) choose((next) => text ? next.set(name, text) : next.delete(name))
}

export function listen() {
  document.addEventListener("click", clicked)
  for (const kind of ["change", "search"]) document.addEventListener(kind, searched)
  $("#range").addEventListener("change", rangeChosen)
  for (const name of Object.keys(CHOICES)) $(`#${name}`).addEventListener("change", oneChosen)
  $("#absolute").addEventListener("submit", spanTyped)
  for (const id of ["from", "to"]) $(`#${id}`).addEventListener("input", keepDraft)
  $("#theme").addEventListener("click", () => choose((next) => {
    if ((view.theme || "dark") === "dark") next.set("theme", "light")
    else next.delete("theme")
  }))
  $("#zone").addEventListener("click", () => choose((next) => {
    const names = declared.zones.map(([name]) => name), name = names[(names.indexOf(zoneOf()) + 1) % names.length]
    if (name === "local") next.delete("zone")
    else next.set("zone", name)
  }))
  $("#freeze").addEventListener("click", freeze)
  window.addEventListener("resize", scale)
  window.addEventListener("popstate", () => { draft = null; go(location.search) })
  document.addEventListener("visibilitychange", () => tell({visible: !document.hidden}))
  paintZone()
}

paints("view", paintView)
