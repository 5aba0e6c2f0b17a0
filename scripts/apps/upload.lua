-- A form that takes files, and what has been sent with it.
--
--   perigee serve scripts/apps/upload.lua
--   curl -F title=Hello -F file=@README.md localhost:8000/
--
-- Files go to the folder "uploads" where it is started, or to the one that UPLOADS names.
local perigee = require "perigee"
local http = require "perigee.http"
local uv = require "luv"

local app = perigee.app("upload", { form_memory_limit = "256 KiB" })

local FOLDER = os.getenv "UPLOADS" or uv.cwd() .. "/uploads"

local page = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Upload</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 36em; margin: 2em auto; padding: 0 1em }
  form { display: grid; gap: .75em; border: 1px solid #999; border-radius: .5em; padding: 1em }
  input, button { font: inherit }
</style>
<h1>Upload</h1>
<form method="post" enctype="multipart/form-data">
  <label>Title <input name="title" required maxlength="80"></label>
  <label>Files <input name="file" type="file" multiple required></label>
  <button>Send</button>
</form>
<ul>
%s</ul>
</html>
]]

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape(text) return (text:gsub("[&<>\"']", entities)) end

app:main_process_start(function() uv.fs_mkdir(FOLDER, 493) end) -- 0755; it may be there

app:get("/", function(req)
  local items, scan = {}, uv.fs_scandir(FOLDER)
  for name in function() return scan and uv.fs_scandir_next(scan) end do
    items[#items + 1] = ('  <li><a href="%s">%s</a>\n'):format(escape(req:url_for("file", { name = name })),
      escape(name))
  end
  table.sort(items)
  return http.html(page:format(table.concat(items)))
end)

-- What a client calls a file is not where it goes: only letters of its name are kept, and a number is put
-- before it.
local function place_for(filename)
  local name = filename:gsub("[^%w._-]", "_"):gsub("^%.+", "_"):sub(-60)
  return ("%s/%x-%s"):format(FOLDER, uv.hrtime(), name)
end

-- Files above form_memory_limit are in temporary files by now; `save` writes them where they belong.
app:post("/", function(req)
  local files = req:files_all "file"
  if #files == 0 then http.abort(422, "there is no file") end
  local saved = {}
  for i, file in ipairs(files) do
    local path = place_for(file.filename)
    assert(file:save(path))
    saved[i] = { name = file.filename, type = file.type, size = file.size }
  end
  if (req.headers.accept or ""):find("text/html", 1, true) then return http.redirect("/", 303) end
  return http.json({ title = req.form.title, files = saved }, 201)
end, { body_limit = "20 MiB", name = "upload" })

-- As a download: a file of somebody's must not become a page of ours.
app:get("/files/<name>", function(_, name)
  return http.file(name, { root = FOLDER, filename = name, type = "application/octet-stream",
    headers = { ["X-Content-Type-Options"] = "nosniff" } })
end, { name = "file" })

return app
