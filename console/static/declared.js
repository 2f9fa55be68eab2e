// What the console declares once, in the page: its tabs, lists, words. Nothing of it is written down here a second time.

export const declared = window.tillwatchDeclared

// "{age} old" with its braces filled in from `values`.
export const fill = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""))

// One of the declared sentences.
export const say = (name, values = {}) => fill(declared.words[name], values)
