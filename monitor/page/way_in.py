"""The one page that is to be had without a token: where it is asked for.

A one-time link carries its code behind the `#`, which a browser sends to nobody, and which stands in no log.
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in · fasciwatch</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/assets/style.css"><link rel="icon" href="/assets/icon.svg"></head>
<body class="way-in"><main class="card"><h1>fasciwatch</h1>
<form><label for="token">Token</label>
<input id="token" type="password" autocomplete="current-password" required autofocus>
<button class="button primary">Log in</button><p role="status" class="quiet">It is in the file
page.token of the data folder, or in the one-time link that the program printed.</p></form></main>
<script>
const form = document.querySelector("form"), said = document.querySelector("[role=status]");
async function enter(token) {
  const answer = await fetch("/login", { method: "POST", headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }) });
  if (answer.ok) location.replace("/"); else said.textContent = (await answer.json()).detail;
}
form.addEventListener("submit", (event) => { event.preventDefault(); enter(form.token.value); });
if (location.hash.length > 1) {
  const code = location.hash.slice(1);
  history.replaceState(null, "", "/login");
  enter(code);
}
</script></body></html>
"""
