// Keeps the age on the small page growing between two draws, and says when the page has lost its server.
(() => {
  "use strict"
  if (window.tillwatchAge) return   // Streamlit runs this again with every whole run of the page

  const PROBE_MS = 5000
  const SET_MS = 2000               // the browser's clock was set, or its machine slept
  const SERVER_SET_MS = 70000       // no message is that late, though a hidden page looks once a minute
  let sent = null                   // when the server drew what stands here, by its clock
  let skew = null                   // browser clock minus the server's, ms
  let zero = null                   // the browser's clock when the page's own began
  let heard = performance.now()
  let answered = true               // whether the server answered the newest probe

  // As lasting() in console/small/times.py says it.
  function lasting(seconds) {
    if (seconds < 10) return `${seconds.toFixed(1)} s`
    if (seconds < 120) return `${Math.round(seconds)} s`
    if (seconds < 7200) return `${Math.round(seconds / 60)} min`
    if (seconds < 172800) return `${Math.round(seconds / 3600)} h`
    return `${Math.round(seconds / 86400)} d`
  }
  function setText(element, text) {
    if (element && element.textContent !== text) element.textContent = text
  }
  function tick() {
    const status = document.getElementById("status")
    if (!status) return
    const told = status.dataset
    if (told.sent !== sent) {
      sent = told.sent
      heard = performance.now()
      if (zero === null || Math.abs(Date.now() - heard - zero) > SET_MS) skew = null
      zero = Date.now() - heard
      // The quickest message tells the clocks' difference best.
      const difference = Date.now() - Date.parse(sent)
      skew = skew === null || difference > skew + SERVER_SET_MS ? difference : Math.min(skew, difference)
    }
    const silent = (performance.now() - heard) / 1000
    const lost = !answered || silent > 2 * Number(told.refreshS) + 5
    const age = told.asOf ? Math.max(0, (Date.now() - skew - Date.parse(told.asOf)) / 1000) : null
    if (age !== null) setText(status.querySelector(".age"), told.age.replace("{age}", lasting(age)))
    setText(status.querySelector(".health"), lost ? told.lost
      : told.words && age > Number(told.staleS) ? told.stale : told.words)
    status.classList.toggle("lost", lost)
  }
  async function probe() {
    try {
      answered = (await fetch("_stcore/health", {cache: "no-store", signal: AbortSignal.timeout(PROBE_MS - 1000)})).ok
    } catch {
      answered = false
    }
    tick()
  }
  // A hidden page draws seldom: what it missed is no sign of a lost server.
  document.addEventListener("visibilitychange", () => { heard = performance.now(); if (!document.hidden) probe() })
  for (const change of ["online", "offline"]) window.addEventListener(change, probe)
  window.tillwatchAge = [setInterval(tick, 500), setInterval(() => { if (!document.hidden) probe() }, PROBE_MS)]
})()
