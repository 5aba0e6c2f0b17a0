-- A small site: pages and assets from a folder, downloads, and an upload folder served with care.
-- Serve it with scripts/serve scripts/apps/site.lua
local perigee = require "perigee"
local http = require "perigee.http"

local app = perigee.app "site"

-- Assets have a version in their name or query, so browsers need not ask for them again.
app:static("/assets", "site/assets", { max_age = 365 * 24 * 3600, immutable = true })

-- A folder to look around in.
app:static("/files", "site/files", { listing = true })

-- A file as a download under a name of its own.
app:get("/report", function()
  return http.file("site/files/report.csv", { filename = "Übersicht 2026.csv" })
end)

-- A name that comes from the client: `root` keeps it inside the folder.
app:get("/show/<name:path>", function(_, name)
  return http.file(name, { root = "site/files", missing = http.text("there is no such file\n", 404) })
end)

-- Everything else is the site itself; pages that its script makes are all index.html.
app:static("/", "site/pages", { fallback = "index.html" })

return app
