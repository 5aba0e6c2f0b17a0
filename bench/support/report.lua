-- bench/RESULTS.md: each script owns one section and replaces it; the head is the machine's.

local process = require "bench.support.process"

local report = {}

local path = "bench/RESULTS.md"

function report.median(list)
  if #list == 0 then return nil end
  local sorted = { unpack(list) }
  table.sort(sorted)
  local middle = math.floor((#sorted + 1) / 2)
  if #sorted % 2 == 1 then return sorted[middle] end
  return (sorted[middle] + sorted[middle + 1]) / 2
end

--- `number` with `format`, or a dash for nil.
function report.figure(format, number)
  return number and format:format(number) or "–"
end

--- A Markdown table: the first column is text, the others are numbers.
function report.table(heads, rows)
  local lines = { "| " .. table.concat(heads, " | ") .. " |",
    "|---|" .. ("--:|"):rep(#heads - 1) }
  for _, row in ipairs(rows) do lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |" end
  return table.concat(lines, "\n") .. "\n"
end

local function line(command)
  local pipe = io.popen(command .. " 2>/dev/null")
  local text = pipe:read "*l"
  pipe:close()
  return text or "?"
end

local function package_version(name)
  return line("dpkg-query -W -f '${Version}' " .. name)
end

local function head()
  local cpu = (process.read "/proc/cpuinfo" or ""):match "model name%s*:%s*([^\n]+)" or "?"
  return ([[
# Results

Written by `scripts/bench`; each section by the script it names. One machine's figures: compare
within a section, not across machines.

- machine: %s cores of %s, Linux %s, %s
- peers: nginx %s with its Lua module %s, h2o %s, node %s; load: wrk %s
- libraries: libuv %s, llhttp %s, LuaJIT %s (%s)
]]):format(line "nproc --all", cpu, line "uname -r", line ". /etc/os-release; echo $PRETTY_NAME",
    package_version "nginx", package_version "libnginx-mod-http-lua",
    package_version "h2o", line "node --version",
    package_version "wrk", package_version "libuv1-dev", package_version "node-llhttp",
    line "luajit -v | cut -d' ' -f2", package_version "'libluajit*-5.1-dev'")
end

-- The sections of the results file in their order, and their texts by title.
local function sections()
  local order, texts, title = {}, {}, nil
  for text in (process.read(path) or ""):gmatch "([^\n]*)\n" do
    local found = text:match "^## (.*)"
    if found then
      title = found
      order[#order + 1] = title
      texts[title] = ""
    elseif title then
      texts[title] = texts[title] .. text .. "\n"
    end
  end
  return order, texts
end

--- Replaces the section `title` of the results file, and prints it.
function report.section(title, text)
  local commit = line "git rev-parse --short=10 HEAD"
  local changed = line "git status --porcelain -- host lua CMakeLists.txt" ~= "?"
  if changed then commit = commit .. " with changes" end
  text = ("\n%s, commit %s.\n\n%s"):format(os.date "!%Y-%m-%d %H:%M UTC", commit, text)
  print("## " .. title .. "\n" .. text)

  local order, texts = sections()
  if not texts[title] then order[#order + 1] = title end
  texts[title] = text .. "\n"
  local file = assert(io.open(path, "w"))
  file:write(head())
  for _, name in ipairs(order) do
    file:write("\n## ", name, "\n", (texts[name]:gsub("\n+$", "\n")))
  end
  file:close()
end

return report
