// Drill-down: filters, what is brushed, a tab's own sentence, what is behind a chosen row.

import {choose} from "./choices.js"
import {declared, say} from "./declared.js"
import {$, dotted, keepingFocus, make, setAttribute, setText} from "./dom.js"
import {now} from "./head.js"
import {held, paints} from "./parts.js"
import {beginning, fullTime} from "./times.js"

const showRange = (range, words) => make("button", {type: "button", class: "chip", "data-range": range.join("~")}, words)
const noBrush = (words) => make("button", {type: "button", class: "chip", "data-clear": "brush", "aria-pressed": "true"}, words)

function chip(filter, kind, [value, count, chosen, words]) {
  const button = make("button", {type: "button", class: "chip", "aria-pressed": String(chosen), "data-toggle": filter, "data-value": value},
    words, count ? make("small", {}, count) : (chosen ? " ✕" : null))
  return kind === "plain" ? button : dotted(button, kind, value, declared.worst)
}

// A text to find. What is being typed is left alone.
function paintSearch(place, facet, name) {
  const held = $("input", place)
  if (held) { if (document.activeElement !== held) held.value = facet.text; return }
  place.replaceChildren(make("input", {type: "search", "data-search": name, placeholder: facet.search, "aria-label": facet.search,
    maxlength: 200, value: facet.text}))
}

// A filter may stand on several tabs, so its part names both.
function paintFacet(place) {
  const facet = held[`facet.${place}`], [tab, name] = place.split(".")
  if (facet.search) return paintSearch($(`#${tab} [data-facet="${name}"]`), facet, name)
  keepingFocus($(`#${tab} [data-facet="${name}"]`), (place) => place.replaceChildren(
    ...(facet.values.length ? [make("span", {class: "quiet"}, `${name.replaceAll("_", " ")} `)] : []),
    ...facet.values.map((value) => chip(name, facet.kind, value)),
    ...(facet.narrowed ? [make("button", {type: "button", class: "chip", "data-clear": name}, say(declared.filters[name]?.length ? "usual" : "all"))] : [])))
}

function paintDrill(tab) {
  const drill = held[`drill.${tab}`]
  const section = $(`#${tab}`), note = $(`#${tab}-note`), brush = $(`#${tab}-brush`)
  setText(note, drill.error ? say("not_asked", {why: drill.error}) : drill.loading ? say("asking") : "")
  note.classList.toggle("failed", Boolean(drill.error))
  setAttribute(section, "aria-busy", drill.loading ? "true" : "false")
  section.classList.toggle("asking", drill.loading)
  if (!brush) return
  const brushed = drill.span && drill.inner && (drill.span[0] !== drill.inner[0] || drill.span[1] !== drill.inner[1])
  brush.replaceChildren(
    ...(drill.inner ? [make("span", {class: "quiet"}, `${beginning(drill.inner[0])} – ${fullTime(drill.inner[1])}`)] : []),
    ...(drill.lapsed ? [
      make("span", {}, ` · ${say("lapsed", {from: beginning(drill.lapsed[0]), to: fullTime(drill.lapsed[1])})} `),
      showRange(drill.lapsed, say("show_range")), noBrush(say("drop"))] : []),
    ...(brushed ? [noBrush(say("whole"))] : []))
}

// What the colours of a chart are: [word, colour] each.
function paintLegend(chart) {
  $(`[data-legend="${chart}"]`).replaceChildren(...held[`legend.${chart}`].colours.map(([word, colour]) => {
    const entry = make("span", {class: "badge"}, word)
    entry.style.setProperty("--dot", `var(--${colour})`)
    return entry
  }))
}

function paintSaid(tab) {
  const said = held[`said.${tab}`], place = $(`#${tab}-said`)
  place.hidden = !said.words
  place.replaceChildren(said.words, " ", ...(said.range ? [showRange(said.range, say("show_holding"))] : []))
}

// A card that tells of a chosen row: [words, time] facts, then [words, address, how] links.
function paintDetail(name) {
  const detail = held[`detail.${name}`], card = $(`#${name}`)
  card.hidden = !detail.shown
  if (!detail.shown) return
  setText($(`#${name}-title`), detail.title)
  $(`#${name}-links`).replaceChildren(
    detail.facts.map(([words, at]) => `${at ? `${words} ${fullTime(at)}` : words} · `).join(""),
    ...detail.links.flatMap(([words, href, how], index) => [index ? " · " : null,
      make("a", how === "go" ? {href, "data-go": true} : {href, rel: "noreferrer", target: "_blank"}, words)]).filter(Boolean))
}

const CLOSER = 3, CLOSEST_MS = 5 * 60_000, FURTHEST_MS = 30 * 365 * 86_400_000

const iso = (ms) => new Date(ms).toISOString().replace(".000Z", "Z")
const SECOND_CLICK_MS = 350
let clicked = 0

// All that is looked at is a time, and a value of a filter where one is given; or it is no longer.
export function behind(start, closes, filter, value) {
  const brush = `${iso(start)}~${iso(closes)}`
  choose((next) => {
    const known = next.get("brush") === brush && (!filter || String(next.getAll(filter)) === value)
    next.delete("brush")
    if (filter) next.delete(filter)
    if (known) return
    next.set("brush", brush)
    if (filter) next.set(filter, value)
  })
}

// A click on a bar leads to what is behind it, once it is no double click; `bars` is the bars' source.
export function tapped({x}, {data}) {
  const place = Array.from(data.start).findIndex((start, at) => x >= start && x < data.closes[at])
  clearTimeout(clicked)
  if (place >= 0) clicked = setTimeout(() => behind(data.start[place], data.closes[place]), SECOND_CLICK_MS)
}

// A double click on a time axis: the range gets so much closer around that moment, or with shift further away.
export function closer({x, modifiers}) {
  const [from, to] = held[`drill.${held.view.tab}`].span.map((iso) => Date.parse(iso))
  const factor = modifiers?.shift ? CLOSER : 1 / CLOSER
  const length = Math.max(CLOSEST_MS, Math.min(FURTHEST_MS, (to - from) * factor))
  // What is clicked stays where it is; nothing is asked of times that have not come.
  const start = Math.min(x - length * (x - from) / (to - from), Math.max(to, now()) - length)
  const seconds = (ms) => iso(Math.round(ms / 1000) * 1000)
  clearTimeout(clicked)
  choose((next) => {
    for (const name of ["range", "brush"]) next.delete(name)
    next.set("from", seconds(start)); next.set("to", seconds(start + length))
  })
}

paints("facet", paintFacet)
paints("drill", paintDrill)
paints("said", paintSaid)
paints("legend", paintLegend)
paints("detail", paintDetail)
