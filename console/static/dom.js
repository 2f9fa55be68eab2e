// Small helpers: text is always set as text, for it comes from outside.

export const $ = (selector, root = document) => root.querySelector(selector)

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value)
  }
  element.append(...children.filter((child) => child !== null && child !== undefined))
  return element
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === "") element.removeAttribute(name)
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value)
}

// A word with a dot in its colour among those of its kind; the worst severity stands out.
export function dotted(element, kind, word, worst) {
  element.style.setProperty("--dot", `var(--${kind}-${CSS.escape(word.toLowerCase())}, var(--text-quiet))`)
  element.classList.add("badge")
  element.classList.toggle("worst", word === worst)
  return element
}

// Draws a place anew, and gives the focus back to the button that had it.
export function keepingFocus(place, draw) {
  const name = (element) => element.dataset.value ?? element.dataset.clear ?? element.getAttribute("aria-label")
  const focused = place.contains(document.activeElement) ? name(document.activeElement) : undefined
  draw(place)
  if (focused !== undefined) ([...place.querySelectorAll("button")].find((one) => name(one) === focused) ?? $("button", place))?.focus()
}
