// Who has an incident and what people do about it: the notifier's side of an incident's page, and the banner on all tabs.

import {ask} from "./acting.js"
import {declared, say} from "./declared.js"
import {$, make, setText} from "./dom.js"
import {held, paints} from "./parts.js"
import {fullTime, when} from "./times.js"

let pending = false                 // whether what was asked for is not answered yet
let shown = null                    // the incident that is on the page

// What was said or begun of another incident is not this one's.
function turnTo(incident) {
  if (incident === shown) return
  shown = incident
  const said = $("#duty-said")
  delete said.dataset.told
  said.classList.remove("failed")
  setText(said, "")
  $("#duty-note-text").value = ""
  $("#duty-for").selectedIndex = 0
}

function paintDuty() {
  const duty = held.duty, place = $("#duty")
  if (!place) return
  turnTo(duty.incident)
  place.hidden = !duty.incident || !duty.open
  if (!duty.incident) return
  setText($("#duty-facts"), duty.facts.map(([words, at]) => at ? `${words} ${fullTime(at)}` : words).join(" · "))
  const error = $("#duty-error")
  error.hidden = !duty.error
  setText(error, duty.error || "")
  $("#duty-now").hidden = !held.view?.at
  // What cannot be done now is not offered, but for a moment that is to be waited for.
  const offered = {ack: !duty.taken, unack: duty.taken, silence: !duty.silence, unsilence: Boolean(duty.silence), escalate: !duty.taken}
  for (const button of place.querySelectorAll("[data-act]")) {
    button.hidden = !offered[button.dataset.act]
    button.disabled = pending || !duty.may || duty.revision === null
  }
  for (const one of place.querySelectorAll("#duty-note input, #duty-note button")) one.disabled = pending || !duty.may || duty.revision === null
  if (!$("#duty-said").dataset.told) setText($("#duty-said"), duty.may ? (duty.person ? say("as", duty) : "") : say("viewer_only"))
}

// How a figure of the incident stands: its own, the orders, conversion; its chart is there where there is something to draw.
function paintFigure(name) {
  const figure = held[name], error = $(`#${name}-error`), chart = $(`[data-chart="incident_${name}"]`)
  setText($(`#${name}-facts`), figure.facts.map(([words, at]) => at ? `${words} ${fullTime(at)}` : words).join("; "))
  error.hidden = !figure.error
  setText(error, figure.error ? say("no_figure", {why: figure.error}) : "")
  for (const one of [chart.previousElementSibling, chart]) one.hidden = !figure.drawn
}

function act(what, more = {}) {
  const duty = held.duty
  if (!duty?.incident || pending) return
  pending = true
  const said = $("#duty-said"), of = shown
  said.dataset.told = "true"
  said.classList.remove("failed")
  setText(said, say("acting"))
  ask(what, more, (error) => {
    pending = false
    if (of === shown) {
      said.classList.toggle("failed", Boolean(error))
      setText(said, error || say(`acted_${what}`))
      if (!error && what === "note") $("#duty-note-text").value = ""
    }
    paintDuty()
  })
  paintDuty()
}

const minutes = () => Number($("#duty-for").value)

const acts = {
  ack: ({incident, revision, had}) => act("ack", {incident, revision, had, minutes: minutes()}),
  unack: ({incident, revision, had}) => act("unack", {incident, revision, had}),
  silence: ({incident}) => act("silence", {incident, minutes: minutes()}),
  unsilence: ({silence}) => act("unsilence", {silence}),
  escalate: ({incident, revision, had}) => act("escalate", {incident, revision, had}),
}

function paintBanner() {
  const banner = held.banner, place = $("#banner")
  const entry = (word) => ({href, name, at}) => make("a", {href, "data-go": true, title: fullTime(at)}, say(word, {name, at: when(at)}))
  const between = (links) => links.flatMap((link, index) => index ? [", ", link] : [link])
  const alone = banner.alone.length ? [
    make("b", {}, say(banner.unknown ? "fatal_unknown" : "fatal_open", {worst: declared.worst})), " ",
    ...between(banner.alone.map(entry("since"))), ...(banner.more ? [` + ${say("more", {n: banner.more})}`] : [])] : []
  const silenced = banner.silenced.length ? [
    make("span", {class: "quiet"}, `${declared.worst} ${say("fatal_silenced")} `), ...between(banner.silenced.map(entry("until")))] : []
  place.hidden = !alone.length && !silenced.length
  place.classList.toggle("calm", !alone.length)
  place.replaceChildren(...alone, ...(alone.length && silenced.length ? [" · "] : []), ...silenced)
  paintTitle()
}

// Which tab it is, and how many wake people, where only the browser's own tabs are seen.
export function paintTitle() {
  const {title} = declared.tabs[held.view?.tab] ?? declared.tabs[declared.home], n = held.banner?.count
  const words = say(n ? "title_count" : "title", {title, n})
  if (document.title !== words) document.title = words
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]")
  if (button) acts[button.dataset.act](held.duty)
})
document.addEventListener("submit", (event) => {
  if (event.target.id !== "duty-note") return
  event.preventDefault()
  act("note", {incident: held.duty.incident, note: $("#duty-note-text").value})
})

// Whoever is no longer among the people here is led out; a provider is asked whether it still knows them.
paints("out", () => location.replace(declared.at_provider
  ? `login?next=${encodeURIComponent(location.pathname + location.search)}` : "logout"))
paints("duty", paintDuty)
for (const name of ["figure", "trade", "conversion"]) paints(name, () => paintFigure(name))
paints("banner", paintBanner)
