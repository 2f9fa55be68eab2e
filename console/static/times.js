// Times in the zone that is shown, and lengths of time.

import {declared} from "./declared.js"

export const MINUTE_MS = 60_000
let whose = "local"
const formats = {}

// Whose times are shown: the viewer's, UTC, or the shop's, where it has a zone.
export const zoneOf = () => whose
export function showZoneOf(name) { whose = declared.zones.some(([one]) => one === name) ? name : "local" }
export const zone = () => whose === "utc" ? "UTC" : whose === "shop" ? declared.shop_zone
  : Intl.DateTimeFormat().resolvedOptions().timeZone

function format(options) {
  const key = JSON.stringify(options) + zone()
  return formats[key] ??= new Intl.DateTimeFormat("en-GB", {...options, timeZone: zone(), hour12: false})
}
const hm = (date) => format({hour: "2-digit", minute: "2-digit"}).format(date)
export const hms = (date) => format({hour: "2-digit", minute: "2-digit", second: "2-digit"}).format(date)
export const day = (date) => format({year: "numeric", month: "2-digit", day: "2-digit"}).format(date).split("/").reverse().join("-")

export function zoneName() {
  if (whose === "utc") return "UTC"
  const part = format({timeZoneName: "short"}).formatToParts(new Date()).find((one) => one.type === "timeZoneName")
  return (part || {value: zone()}).value
}

export function clock(ms, named = false) {
  const date = new Date(ms)
  return named ? `${day(date)} ${hm(date)} ${zoneName()}` : hm(date)
}

// Axis labels of any range: the day where the time says nothing.
export function moment(ms, spanMs) {
  const date = new Date(ms)
  if (spanMs > 3 * 86400e3) return day(date)
  if (spanMs > 86400e3) return `${day(date).slice(5)} ${hm(date)}`
  return hm(date)
}

export function when(iso) {
  const date = new Date(iso)
  const old = Math.abs(Date.now() - date) > 20 * 3600e3
  return old ? `${day(date)} ${hms(date)}` : hms(date)
}

export function fullTime(iso) {
  const date = new Date(iso)
  return `${day(date)} ${hms(date)} ${zoneName()}`
}

// The same without its zone, where another time follows that names it.
export const beginning = (iso) => fullTime(iso).replace(/ [^ ]+$/, "")

export function lasting(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86400)} d`
}

// What an input says is in the zone that is shown; the offset is that of the moment named.
export function localInput(iso) {
  const date = new Date(iso)
  return `${day(date)}T${hms(date)}`
}
export function fromInput(text) {
  if (whose === "local") return new Date(text)
  const read = Date.parse(`${text}Z`)
  if (whose === "utc" || isNaN(read)) return new Date(read)
  // The offset is that of the moment which is looked for: a first guess is near enough to tell it, but for a clock's turn.
  const offset = (ms) => Date.parse(`${localInput(ms)}Z`) - Math.floor(ms / 1000) * 1000
  return new Date(read - offset(read - offset(read)))
}
