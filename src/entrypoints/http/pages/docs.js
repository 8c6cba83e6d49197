// Search, tabs, and the reader's key in the examples. The key stays in this tab: it is sent to this service alone, and
// only to ask for the reader's own event types.
'use strict'

const SHELL_SAFE = /^[A-Za-z0-9_.-]+$/
const fill = document.getElementById('fill')

function put(name, value) {
  for (const place of document.querySelectorAll(`[data-fill="${name}"]`)) {
    place.dataset.empty ??= place.textContent
    place.textContent = SHELL_SAFE.test(value) ? value : place.dataset.empty
  }
}

for (const input of fill.elements) {
  input.value = sessionStorage.getItem(`carillon ${input.name}`) ?? ''
  put(input.name, input.value)
  input.addEventListener('input', () => {
    const value = input.value.trim()
    sessionStorage.setItem(`carillon ${input.name}`, value)
    put(input.name, value)
  })
}
fill.addEventListener('submit', (event) => event.preventDefault())

const search = document.getElementById('search')
search.addEventListener('input', () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean)
  let found = 0
  for (const part of document.querySelectorAll('.contents .part')) {
    let here = 0
    for (const link of part.querySelectorAll('a')) {
      const fits = words.every((word) => link.dataset.words.includes(word))
      link.parentElement.hidden = !fits
      here += fits
    }
    part.hidden = !here
    found += here
  }
  document.getElementById('none').hidden = found > 0
})
search.addEventListener('keydown', (event) => {
  if (event.key === 'Enter') document.querySelector('.contents li:not([hidden]) a')?.click()
})
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.target.closest('input')) return
  event.preventDefault()
  search.focus()
})

for (const list of document.querySelectorAll('[role=tablist]')) {
  const tabs = [...list.querySelectorAll('[role=tab]')]
  const choose = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute('aria-selected', tab === chosen)
      tab.tabIndex = tab === chosen ? 0 : -1
      document.getElementById(tab.getAttribute('aria-controls')).hidden = tab !== chosen
    }
  }
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener('click', () => choose(tab))
    tab.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
      if (!step) return
      const next = tabs[(place + step + tabs.length) % tabs.length]
      choose(next)
      next.focus()
    })
  }
  choose(tabs[0])
}

const links = new Map([...document.querySelectorAll('.contents a')].map((link) => [link.hash.slice(1), link]))
const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue
      for (const link of links.values()) link.removeAttribute('aria-current')
      links.get(entry.target.id)?.setAttribute('aria-current', 'true')
    }
  },
  { rootMargin: '-10% 0px -80% 0px' },
)
for (const article of document.querySelectorAll('main article')) seen.observe(article)

for (const button of document.querySelectorAll('.copy')) {
  button.hidden = !navigator.clipboard
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(button.nextElementSibling.textContent)
    button.textContent = 'Copied'
    setTimeout(() => (button.textContent = 'Copy'), 1500)
  })
}

function made(name, text, ...inside) {
  const element = document.createElement(name)
  element.textContent = text
  element.append(...inside)
  return element
}

function described(type) {
  const parts = [made('h4', type.name)]
  if (type.deprecated) parts.push(made('p', `Deprecated: ${type.deprecated}`))
  if (type.description) parts.push(made('p', type.description))
  if (type.example) parts.push(made('pre', JSON.stringify(type.example, null, 2)))
  const checked = type.checked ? 'Schema, checked' : 'Schema'
  if (type.schema) parts.push(made('details', '', made('summary', checked), made('pre', JSON.stringify(type.schema, null, 2))))
  return parts
}

async function eventTypes(key) {
  const found = []
  let next = ''
  do {
    const address = `/api/v1/event-types?limit=200&cursor=${encodeURIComponent(next)}`
    const answer = await fetch(address, { headers: { Authorization: `Bearer ${key}` } })
    if (!answer.ok) return [made('p', `The service answered ${answer.status}: is it the right key?`)]
    const page = await answer.json()
    found.push(...page.event_types.flatMap(described))
    next = page.next_cursor
  } while (next)
  return found.length ? found : [made('p', 'None is described yet.')]
}

document.getElementById('show-types')?.addEventListener('click', async () => {
  const key = fill.elements.key.value.trim()
  const said = SHELL_SAFE.test(key) ? await eventTypes(key) : [made('p', 'Type an API key in above.')]
  document.getElementById('types').replaceChildren(...said)
})
