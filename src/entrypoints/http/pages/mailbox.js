// New mail appears by itself; a mail opens without losing one's place in the list. All of it works without this, too.
'use strict'

const panes = document.getElementById('panes')
const live = document.getElementById('live')
const title = document.title
let newest = Number(panes.dataset.newest)
let unseen = 0
let asked = 0

function say(state, words) {
  live.className = `live ${state}`
  live.textContent = words
}

function arrived(event) {
  newest = Number(event.lastEventId)
  const mails = document.getElementById('mails')
  if (!mails) return location.reload()
  if (document.getElementById(`mail-${newest}`)) return
  mails.insertAdjacentHTML('afterbegin', event.data)
  unseen += 1
  document.title = `(${unseen}) ${title}`
}

function watch() {
  if (panes.dataset.first === 'no') return say('off', 'older mails')
  const source = new EventSource(`/mailbox/events?after=${newest}`)
  source.addEventListener('open', () => say('on', 'live'))
  source.addEventListener('mail', arrived)
  source.addEventListener('many', () => location.reload())
  source.addEventListener('cleared', () => location.assign('/mailbox'))
  source.addEventListener('error', () => {
    say('off', 'connecting')
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 1000)
  })
}

function mark(id) {
  for (const link of document.querySelectorAll('#mails a')) {
    const current = link.id === `mail-${id}`
    if (current) {
      link.setAttribute('aria-current', 'true')
      link.parentElement.classList.remove('fresh')
      link.scrollIntoView({ block: 'nearest' })
    } else link.removeAttribute('aria-current')
  }
  unseen = document.querySelectorAll('#mails .fresh').length
  document.title = unseen ? `(${unseen}) ${title}` : title
}

async function show(address, remember) {
  const turn = ++asked
  const answer = await fetch(address).catch(() => null)
  if (turn !== asked) return
  if (!answer || !answer.ok) return location.assign(address)
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  const pane = page.getElementById('pane')
  if (turn !== asked) return
  if (!pane || !document.getElementById('pane')) return location.assign(address)
  document.getElementById('pane').replaceWith(document.adoptNode(pane))
  panes.className = page.getElementById('panes').className
  if (remember) history.pushState(null, '', address)
  mark(pane.dataset.mail)
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-swap]')
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  event.preventDefault()
  show(link.href, true)
})

document.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key]
  if (!step || event.metaKey || event.ctrlKey || event.altKey) return
  const links = [...document.querySelectorAll('#mails a')]
  const next = links[links.findIndex((link) => link.hasAttribute('aria-current')) + step]
  if (!next) return
  event.preventDefault()
  next.focus()
  show(next.href, true)
})

window.addEventListener('popstate', () => show(location.href, false))

document.getElementById('clear').addEventListener('submit', (event) => {
  if (!confirm('Forget all captured mails?')) event.preventDefault()
})

for (const button of document.querySelectorAll('.copy')) {
  button.hidden = !navigator.clipboard
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(button.nextElementSibling.textContent)
    button.textContent = 'Copied'
    setTimeout(() => (button.textContent = 'Copy'), 1500)
  })
}

watch()
