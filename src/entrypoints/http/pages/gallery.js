// Mails as wide as on a phone, or as wide as there is room. The page can be read without this, too.
'use strict'

const width = document.getElementById('width')

function narrow(state) {
  document.body.classList.toggle('narrow', state)
  width.setAttribute('aria-pressed', String(state))
  sessionStorage.setItem('carillon narrow', state ? 'yes' : 'no')
}

width.hidden = false
width.addEventListener('click', () => narrow(width.getAttribute('aria-pressed') !== 'true'))
narrow(sessionStorage.getItem('carillon narrow') === 'yes')
