// Sends the forms of the page and shows the responses.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const shown = form.querySelector("pre");
    const headers = {};
    let path = form.dataset.path;
    const query = new URLSearchParams();
    for (const input of form.querySelectorAll("input")) {
      if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
      else if (!input.value) continue;
      else if (input.dataset.in === "header") headers[input.name] = input.value;
      else query.set(input.name, input.value);
    }
    const key = document.getElementById("key");
    if (key?.value) headers.Authorization = `Bearer ${key.value}`;
    const body = form.querySelector("textarea")?.value;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    shown.textContent = "Sending";
    try {
      const response = await fetch(query.size ? `${path}?${query}` : path, { method: form.dataset.method, headers, body });
      const text = await response.text();
      shown.textContent = `${response.status} ${response.statusText}\n${pretty(text)}`;
    } catch {
      shown.textContent = "Cannot reach the service.";
    }
  });
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text.slice(0, 20000);
  }
}
