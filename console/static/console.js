// Paints what the console sends, tells it what the viewer chose, and keeps the age ticking between messages.
window.tillwatch = (() => {
  "use strict"

  const TILES = [
    ["revenue", "Revenue 5 min"], ["orders", "Orders 5 min"], ["average", "Average order"],
    ["users", "Active users"], ["conversion", "Conversion"], ["error_rate", "Error rate"],
  ]
  const HEARTBEAT_S = 15
  const STALE_S = 3 * HEARTBEAT_S   // ingest publishes at least every heartbeat
  const SILENT_S = 12               // the console speaks at least every 5 s
  const held = {}                   // place -> part
  let number = 0                    // of the last message
  let skew = null                   // browser clock minus the console's, ms
  let heard = performance.now()
  let lostAt = null                 // when the websocket broke, on the page's clock
  let utc = false

  // ---- time and numbers

  const zone = () => utc ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone
  const formats = {}
  function format(options) {
    const key = JSON.stringify(options) + zone()
    return formats[key] ??= new Intl.DateTimeFormat("en-GB", {...options, timeZone: zone(), hour12: false})
  }
  const hm = (date) => format({hour: "2-digit", minute: "2-digit"}).format(date)
  const hms = (date) => format({hour: "2-digit", minute: "2-digit", second: "2-digit"}).format(date)
  const day = (date) => format({year: "numeric", month: "2-digit", day: "2-digit"}).format(date).split("/").reverse().join("-")
  const zoneName = () => utc ? "UTC" : (format({timeZoneName: "short"}).formatToParts(new Date()).find((part) => part.type === "timeZoneName") || {value: zone()}).value
  function clock(ms, named = false) {
    const date = new Date(ms)
    return named ? `${day(date)} ${hm(date)} ${zoneName()}` : hm(date)
  }
  // Axis labels of any range: the day where the time says nothing.
  function moment(ms, spanMs) {
    const date = new Date(ms)
    if (spanMs > 3 * 86400e3) return day(date)
    if (spanMs > 86400e3) return `${day(date).slice(5)} ${hm(date)}`
    return hm(date)
  }
  function when(iso) {
    const date = new Date(iso)
    const old = Math.abs(Date.now() - date) > 20 * 3600e3
    return old ? `${day(date)} ${hms(date)}` : hms(date)
  }
  function fullTime(iso) {
    const date = new Date(iso)
    return `${day(date)} ${hms(date)} ${zoneName()}`
  }
  function lasting(seconds) {
    if (seconds < 10) return `${seconds.toFixed(1)} s`
    if (seconds < 120) return `${Math.round(seconds)} s`
    if (seconds < 7200) return `${Math.round(seconds / 60)} min`
    if (seconds < 172800) return `${Math.round(seconds / 3600)} h`
    return `${Math.round(seconds / 86400)} d`
  }

  // ---- small DOM helpers: text is always set as text, for it comes from outside

  const $ = (selector, root = document) => root.querySelector(selector)
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value)
    }
    element.append(...children.filter((child) => child !== null && child !== undefined))
    return element
  }
  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text
  }
  function setAttribute(element, name, value) {
    if (value === null || value === undefined || value === "") element.removeAttribute(name)
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value)
  }

  // ---- tiles

  const SVG = "http://www.w3.org/2000/svg"
  function buildTiles() {
    const place = $("#tiles")
    for (const [key, name] of TILES) {
      const svg = document.createElementNS(SVG, "svg")
      svg.setAttribute("viewBox", "0 0 120 28")
      svg.setAttribute("preserveAspectRatio", "none")
      svg.setAttribute("aria-hidden", "true")
      for (const kind of ["line", "tip"]) {
        const shape = document.createElementNS(SVG, "path")
        shape.setAttribute("class", kind)
        svg.append(shape)
      }
      place.append(make("div", {class: "tile skeleton", "data-tile": key, role: "group", "aria-label": name},
        make("h2", {}, name, make("span", {class: "word"})),
        make("p", {class: "value"}, "\u00a0"),
        make("p", {class: "foot"}, svg, make("span", {class: "change"}, "\u00a0"))))
    }
  }
  function buildLegend() {
    $("#severity-legend").replaceChildren(...["FATAL", "ERROR", "WARN", "INFO", "DEBUG"].map((severity) => make("span", {class: `badge severity-${severity.toLowerCase()}`}, severity)))
  }
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
    setAttribute(change, "title", tile.change ? "vs 5 min before" : "")
    change.className = `change ${tile.good === null ? "" : tile.good ? "better" : "worse"}`
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

  // ---- lists: rows keep their element, so that a new one slides in beside those that stay

  const cell = (text, attributes = {}) => make("td", attributes, String(text))
  const badge = (kind, text) => make("span", {class: `badge ${kind}-${text.toLowerCase()}`}, text)
  const time = (iso) => make("time", {datetime: iso, title: fullTime(iso)}, when(iso))
  const timeCell = (iso) => make("td", {class: "time"}, time(iso))
  const ROWS = {
    latest_orders: (row) => make("tr", {},
      timeCell(row.at), cell(row.order, {title: `user ${row.user}`}), cell(row.product), cell(row.quantity, {class: "num"}),
      cell(row.total, {class: "num"}), make("td", {}, badge("status", row.status))),
    latest_errors: (row) => make("tr", {},
      timeCell(row.at), make("td", {}, badge("severity", row.severity)), cell(row.service), cell(row.message, {class: "wide", title: row.message})),
    incidents: incidentItem,
    order_rows: (row) => make("tr", {},
      timeCell(row.at), cell(row.order), cell(row.user), cell(row.product), cell(row.quantity, {class: "num"}),
      cell(row.price, {class: "num"}), cell(row.total, {class: "num"}), make("td", {}, badge("status", row.status))),
    error_rows: errorRow,
    behind_errors: errorRow,
    behind_alerts: (row) => make("tr", {},
      timeCell(row.at), cell(row.status), make("td", {}, badge("severity", row.severity)),
      cell(row.value, {class: "num"}), cell(row.description, {class: "wide", title: row.description})),
    incident_rows: (row) => {
      const link = make("a", {href: `?tab=alerts&incident=${encodeURIComponent(row.key)}`, "data-incident": row.key}, row.description)
      return make("tr", {class: `incident-row ${row.state}`, "aria-selected": row.chosen ? "true" : null},
        cell({open: "open", resolved: "resolved", old: "too old to wake"}[row.state], {class: "state"}),
        make("td", {}, badge("severity", row.severity || "INFO")), cell(row.service || row.rule),
        make("td", {class: "wide", title: row.description}, link), cell(row.firings, {class: "num"}),
        timeCell(row.starts_at), timeCell(row.newest_at), row.resolved_at ? timeCell(row.resolved_at) : cell("—"))
    },
  }
  function errorRow(row) {
    return make("tr", {}, timeCell(row.at), make("td", {}, badge("severity", row.severity)), cell(row.service),
      cell(row.message, {class: "wide", title: row.message}), cell(row.error))
  }
  const EMPTY = {
    latest_orders: "No order in the last day. They appear here a second after they are placed.",
    latest_errors: "No error in the last day. They appear here a second after a service reports one.",
    incidents: "Nothing fired in the last 24 hours. An incident opens when a service reports a FATAL error or a rule fires.",
  }
  function incidentItem(row) {
    const state = {open: "open", resolved: "resolved", old: "too old to wake"}[row.state]
    const link = make("a", {href: `?tab=alerts&incident=${encodeURIComponent(row.key)}`, "data-go": true}, row.description)
    return make("li", {class: `incident ${row.state}`},
      make("p", {class: "line"}, badge("severity", row.severity || "INFO"), make("b", {}, row.service || row.rule), make("span", {class: "state"}, state)),
      make("p", {class: "words", title: row.description}, link),
      make("p", {class: "quiet"}, time(row.starts_at), ` · ${row.firings} ${row.firings === 1 ? "alert" : "alerts"}`,
        row.firings > 1 ? " · newest " : null, row.firings > 1 ? time(row.newest_at) : null))
  }
  const kept = {}
  function paintList(name) {
    const list = held[`list.${name}`]
    const place = $(`[data-list="${name}"]`)
    if (!list || !place) return
    const known = kept[name] || new Map()
    const now = new Map()
    const elements = list.rows.map((row) => {
      const text = JSON.stringify(row) + zone()
      const before = known.get(row.key)
      if (before && before.text === text) { now.set(row.key, before); return before.element }
      const element = ROWS[name](row)
      setAttribute(element, "data-produced-at", row.produced_at)
      setAttribute(element, "data-key", row.key)
      if (!before && known.size && row.severity === "FATAL") element.classList.add("arrived")
      now.set(row.key, {text, element})
      return element
    })
    kept[name] = now
    if (!elements.length) {
      const words = list.empty || EMPTY[name] || "Nothing here."
      const columns = place.closest("table") ? place.closest("table").querySelectorAll("th").length : 0
      elements.push(columns ? make("tr", {class: "empty"}, make("td", {colspan: columns}, words)) : make("li", {class: "empty"}, words))
    }
    if (list.more) elements.push(make("li", {class: "quiet"}, make("a", {href: "?tab=alerts", "data-go": true}, `${list.more} more`)))
    place.replaceChildren(...elements)
    setAttribute(place, "data-produced-at", list.produced_at)
    setAttribute(place, "data-late", list.stale)
    const words = $(`[data-words="${name}"]`)
    if (words) setText(words, list.words || "")
  }

  // ---- drill-down: filters, what is brushed, what is behind an incident

  function paintFacet(name) {
    const facet = held[`facet.${name}`]
    const place = $(`[data-facet="${name}"]`)
    const chosen = facet.values.some(([, , is]) => is)
    place.replaceChildren(...(facet.values.length ? [make("span", {class: "quiet"}, `${name} `)] : []), ...facet.values.map(([value, count, is, words = value]) =>
      make("button", {type: "button", class: `chip ${facet.kind === "plain" ? "" : `badge ${facet.kind}-${value.toLowerCase()}`}`,
        "aria-pressed": String(is), "data-toggle": name, "data-value": value}, words, count ? make("small", {}, count) : (is ? " ✕" : null))),
      ...(chosen ? [make("button", {type: "button", class: "chip", "data-clear": name}, "all")] : []))
  }
  function paintDrill(tab) {
    const drill = held[`drill.${tab}`]
    const note = $(`#${tab}-note`)
    const words = drill.error ? `This could not be asked: ${drill.error} What you see is the last good answer.` : drill.loading ? "Asking…" : ""
    setText(note, words)
    note.classList.toggle("failed", Boolean(drill.error))
    const section = $(`#${tab}`)
    setAttribute(section, "aria-busy", drill.loading ? "true" : "false")
    section.classList.toggle("asking", drill.loading)
    const brush = $(`#${tab}-brush`)
    if (brush) {
      const brushed = drill.span && drill.inner && (drill.span[0] !== drill.inner[0] || drill.span[1] !== drill.inner[1])
      brush.replaceChildren(...(drill.inner ? [make("span", {class: "quiet"},
        `${fullTime(drill.inner[0]).replace(/ [^ ]+$/, "")} – ${fullTime(drill.inner[1])}`)] : []),
        ...(drill.lapsed ? [make("span", {}, ` · the brushed time ${fullTime(drill.lapsed[0]).replace(/ [^ ]+$/, "")} – ${fullTime(drill.lapsed[1])} lies outside this range and narrows nothing `),
          showRange(drill.lapsed, "show its range"),
          make("button", {type: "button", class: "chip", "data-clear": "brush", "aria-pressed": "true"}, "drop it ✕")] : []),
        ...(brushed ? [make("button", {type: "button", class: "chip", "data-clear": "brush", "aria-pressed": "true"}, "whole range ✕")] : []))
    }
  }
  const showRange = (range, words) => make("button", {type: "button", class: "chip", "data-range": range.join("~")}, words)
  function paintBehind() {
    const behind = held.behind, elsewhere = behind.elsewhere
    $("#behind").hidden = !behind.shown
    $("#elsewhere").hidden = !elsewhere
    $("#elsewhere").replaceChildren(...(elsewhere ? [elsewhere.words, " ", ...(elsewhere.range ? [showRange(elsewhere.range, "show the range that holds it")] : [])] : []))
    if (!behind.shown) return
    setText($("#behind-title"), behind.incident.description)
    $("#behind-links").replaceChildren(
      `${{open: "open", resolved: "resolved", old: "too old to wake"}[behind.incident.state]} · first ${fullTime(behind.incident.starts_at)} · newest ${fullTime(behind.incident.newest_at)} · `,
      make("a", {href: behind.errors_link, "data-go": true}, "see its time in Errors"),
      ...(behind.incident.runbook_url ? [" · ", make("a", {href: behind.incident.runbook_url, rel: "noreferrer", target: "_blank"}, "runbook")] : []))
  }

  // ---- header

  function paintHead() {
    const head = held.head
    if (!head) return
    setAttribute(document.body, "data-commit", head.commit)
    setAttribute(document.body, "data-as-of", head.as_of)
    const commit = $("#commit")
    setText(commit, head.commit ? `commit ${head.commit.slice(0, 8)}…` : "")
    setAttribute(commit, "title", head.commit ? `${head.commit}, as of ${head.as_of}` : "")
    setText($("#viewers"), head.viewers === 1 ? "1 viewer" : `${head.viewers} viewers`)
    const count = $("#open-count")
    count.hidden = !head.open
    setText(count, String(head.open))
    setAttribute(count, "title", head.open === 1 ? "1 open incident" : `${head.open} open incidents`)
    tickAge()
  }
  function tickAge() {
    const head = held.head || {}
    const ageOf = (iso) => iso ? Math.max(0, (Date.now() - (skew ?? 0) - Date.parse(iso)) / 1000) : null
    // What this tab shows may be older than what the console has: the age is that of the commit shown.
    const age = ageOf(head.as_of), fed = ageOf(head.fed_as_of)
    const every = head.every_s ? `${Math.round(head.every_s)} s` : null
    const silent = (performance.now() - heard) / 1000
    let state = "ok", why = ""
    const failed = Object.entries(head.failed || {})
    if (reach.words) { state = "stale"; why = reach.words }
    else if (lostAt !== null) { state = "stale"; why = "the connection to the console is lost; trying again" }
    else if (silent > SILENT_S) { state = "stale"; why = `no word from the console for ${lasting(silent)}; reconnecting` }
    else if (head.error) { state = "stale"; why = head.error }
    else if (fed !== null && fed > STALE_S) { state = "stale"; why = "ingest is down or cannot read: it has published nothing for three heartbeats" }
    else if (failed.length) { state = "late"; why = `${failed.map(([name]) => name.replaceAll("_", " ")).join(", ")} failed: ${failed[0][1]}` }
    else if (every && age > head.every_s + STALE_S) { state = "late"; why = `this tab still shows its last answer; it should be renewed every ${every}` }
    else if (fed === null) { state = "waiting"; why = head.polled ? "nothing is published yet: look whether the producers and ingest (or the Spark driver) run" : "" }
    else if (head.clock) { state = "late"; why = head.clock }
    setText($("#age"), age !== null ? `data ${lasting(age)} old` : fed === null ? "no data yet" : "asking for what this tab shows")
    setText($("#health"), why || (fed === null ? "" : every ? `all feeds ok, this tab is renewed every ${every}` : "all feeds ok"))
    setAttribute(document.body, "data-health", state)
    document.body.style.setProperty("--stale-for", `"stale, ${age === null ? "no data" : lasting(age)}"`)
    if (!reach.opened || silent > 2 * SILENT_S || (lostAt !== null && performance.now() - lostAt > 4000)) reach.look(silent)
  }

  // ---- what the viewer chose

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
    const tab = view.tab || "overview"
    const turned = setZone(view.zone === "utc")
    document.body.dataset.tab = tab
    for (const link of document.querySelectorAll("nav a")) {
      setAttribute(link, "aria-current", link.dataset.tab === tab ? "page" : null)
      // Opened in a tab of the browser, a tab keeps what was chosen too.
      setAttribute(link, "href", `?${onTab(parameters(), link.dataset.tab)}`)
    }
    for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== tab
    if (view.theme) document.documentElement.dataset.theme = view.theme
    const range = $("#range")
    if (document.activeElement !== range) range.value = view.span || draft ? "absolute" : (view.range || "live")
    range.closest("label").hidden = tab === "overview"
    $("#absolute").hidden = tab === "overview" || !(view.span || range.value === "absolute")
    const span = draft || view.span
    if (span) {
      for (const [id, iso] of [["from", span[0]], ["to", span[1]]]) {
        const input = $(`#${id}`)
        if ((turned || document.activeElement !== input) && iso) input.value = localInput(iso)
      }
    }
    const notices = view.notices || []
    $("#notice").hidden = !notices.length
    setText($("#notice"), notices.join(" "))
    const idle = view.without_effect || []
    $("#without-effect").hidden = !idle.length
    setText($("#without-effect"), `Kept for the other tabs, without effect here: ${idle.join("; ")}.`)
  }
  function localInput(iso) {
    const date = new Date(iso)
    return `${day(date)}T${hms(date)}`
  }
  // What an input says is in the zone that is shown; the offset is that of the moment named.
  function fromInput(text) {
    if (utc) return new Date(`${text}Z`)
    return new Date(text)
  }
  function tell(what) {
    const wire = window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].get_model_by_name("wire")
    if (!wire) return false
    wire.up = JSON.stringify({...what, at: performance.now()})
    return true
  }
  function parameters() { return new URLSearchParams(location.search) }
  function go(query, {replace = false} = {}) {
    const text = query.replace(/^\?/, "")
    const url = text ? `?${text}` : location.pathname
    if (text !== location.search.replace(/^\?/, "")) history[replace ? "replaceState" : "pushState"]({}, "", url)
    const tab = new URLSearchParams(text).get("tab") || "overview"
    held.view = {...(held.view || {}), tab, zone: new URLSearchParams(text).get("zone") || "local", without_effect: []}
    paintView()
    tell({view: text})
  }
  function choose(change, options) {
    const next = parameters()
    change(next)
    go(next.toString(), options)
  }
  function toggle(name, value) {
    choose((next) => {
      const values = next.getAll(name)
      next.delete(name)
      for (const one of values.includes(value) ? values.filter((other) => other !== value) : [...values, value]) next.append(name, one)
    })
  }
  function onTab(query, tab) {
    if (tab === "overview") query.delete("tab")
    else query.set("tab", tab)
    return query
  }
  function showSpan(since, until) {
    draft = null
    choose((next) => {
      next.delete("range")
      next.set("from", since.replace(".000Z", "Z")); next.set("to", until.replace(".000Z", "Z"))
    })
  }
  function paintZone() { setText($("#zone"), zoneName()); setAttribute($("#zone"), "aria-pressed", utc) }
  function setZone(isUtc) {
    const turned = isUtc !== utc
    if (turned) {
      utc = isUtc
      for (const place of Object.keys(held)) if (place !== "view" && place !== "go") paint(place)
      redrawAxes()
    }
    paintZone()
    return turned
  }

  function listen() {
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-tab], a[data-go]")
      if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
        event.preventDefault()
        if (link.dataset.tab !== undefined) {
          choose((next) => onTab(next, link.dataset.tab))
        } else {
          const target = new URLSearchParams(link.getAttribute("href").replace(/^\?/, ""))
          for (const name of ["theme", "zone"]) if (parameters().has(name)) target.set(name, parameters().get(name))
          draft = null
          go(target.toString())
        }
      }
      const incident = event.target.closest(".incident-row")
      if (incident && !event.ctrlKey && !event.metaKey) {
        event.preventDefault()
        choose((next) => next.get("incident") === incident.dataset.key ? next.delete("incident") : next.set("incident", incident.dataset.key))
      }
      const chip = event.target.closest("[data-toggle]")
      if (chip) toggle(chip.dataset.toggle, chip.dataset.value)
      const clear = event.target.closest("[data-clear]")
      if (clear) choose((next) => { for (const name of clear.dataset.clear.split(" ")) next.delete(name) })
      const range = event.target.closest("[data-range]")
      if (range) showSpan(...range.dataset.range.split("~"))
    })
    $("#range").addEventListener("change", (event) => {
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
    })
    $("#absolute").addEventListener("submit", (event) => {
      event.preventDefault()
      const since = fromInput($("#from").value), until = fromInput($("#to").value)
      document.activeElement.blur()
      if (!(since < until)) { $("#notice").hidden = false; setText($("#notice"), "The range ends before it begins: set `to` after `from`."); return }
      showSpan(since.toISOString(), until.toISOString())
    })
    for (const id of ["from", "to"]) $(`#${id}`).addEventListener("input", keepDraft)
    $("#theme").addEventListener("click", () => choose((next) => {
      if ((view.theme || "dark") === "dark") next.set("theme", "light")
      else next.delete("theme")
    }))
    $("#zone").addEventListener("click", () => choose((next) => {
      if (utc) next.delete("zone")
      else next.set("zone", "utc")
    }))
    window.addEventListener("popstate", () => { draft = null; go(location.search) })
    document.addEventListener("visibilitychange", () => tell({visible: !document.hidden}))
  }
  function redrawAxes() {
    for (const doc of (window.Bokeh || {documents: []}).documents) {
      for (const model of doc._all_models.values()) if (model.type === "CustomJSTickFormatter") model.change.emit()
    }
  }

  // ---- messages

  function paint(place) {
    const dot = place.indexOf(".")
    const kind = dot < 0 ? place : place.slice(0, dot), name = place.slice(dot + 1)
    if (kind === "head") paintHead()
    else if (kind === "view") paintView()
    else if (kind === "tile" || kind === "spark") paintTile(name)
    else if (kind === "list") paintList(name)
    else if (kind === "go") { if (held.go.query !== null) follow(held.go.query) }
    else if (kind === "facet") paintFacet(name)
    else if (kind === "drill") paintDrill(name)
    else if (kind === "behind") paintBehind()
    else if (kind === "empty") for (const [name, words] of Object.entries(held.empty)) setAttribute($(`[data-chart="${name}"]`), "data-empty", words)
  }
  // A choice made on a chart: the console knows it already, only the URL lags.
  function follow(query) {
    if (query !== location.search.replace(/^\?/, "")) history.pushState({}, "", query ? `?${query}` : location.pathname)
  }
  function take(text) {
    const message = JSON.parse(text)
    if (number) reach.heard()
    heard = performance.now()
    lostAt = null
    const now = Date.now() - Date.parse(message.now)
    // The quickest message tells the clocks' difference best.
    skew = skew === null ? now : Math.min(skew, now)
    if (number && message.n > number + 1) tell({full: true})
    number = message.n
    for (const [place, part] of Object.entries(message.parts)) {
      // A row that is here already comes as its key alone.
      if (place.startsWith("list.")) {
        const rows = new Map(((held[place] || {}).rows || []).map((row) => [row.key, row]))
        part.rows = part.rows.map((row) => typeof row === "string" ? rows.get(row) : row)
        if (part.rows.includes(undefined)) { tell({full: true}); continue }
      }
      held[place] = part
    }
    for (const place of Object.keys(message.parts)) paint(place)
    tickAge()
  }

  function start() {
    buildTiles()
    buildLegend()
    listen()
    paintZone()
    take($("#first").textContent)
    // It was told; what is copied from here on was not too long.
    if (parameters().has("cut")) { const next = parameters(); next.delete("cut"); history.replaceState({}, "", `?${next}`) }
    setInterval(tickAge, 500)
  }

  function lost() { lostAt ??= performance.now(); tickAge() }
  // The session lives on: what it said meanwhile is asked for again.
  function found() { lostAt = null; tell({full: true}) }

  return {start, take, lost, found, clock, moment, go}
})()
