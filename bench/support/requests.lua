-- The requests of the workloads that are more than a path, for wrk (bench/support/request.lua) and for
-- bench/instructions.

local requests = {}

-- What a browser sends, but for Accept-Encoding: what compression costs is not the question here.
requests.users = { method = "GET", path = "/users/42?page=2&sort=name&filter=active", headers = {
  { "Host", "localhost" },
  { "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0" },
  { "Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8" },
  { "Accept-Language", "en-US,en;q=0.5" },
  { "Referer", "http://localhost/users" },
  { "Cookie", "session=0123456789abcdef0123456789abcdef; theme=dark" },
  { "Upgrade-Insecure-Requests", "1" },
  { "Sec-Fetch-Dest", "document" },
  { "Sec-Fetch-Mode", "navigate" },
  { "Sec-Fetch-Site", "same-origin" },
} }

local function order()
  local items = {}
  for i = 1, 9 do
    items[i] = ('{"sku":"A-%04d","title":"Compiler, part %d","quantity":%d,"price":%.2f,'
      .. '"tags":["book","used"]}')
      :format(i, i, i, 18.95 + i)
  end
  return '{"id":184467,"customer":{"name":"Grace Hopper","email":"grace@example.org","vip":true},"items":['
    .. table.concat(items, ",") .. '],"total":319.6,"paid":false}'
end

requests.echo = { method = "POST", path = "/echo", body = order(),
  headers = { { "Host", "localhost" }, { "Content-Type", "application/json" } } }

--- A request as its bytes.
function requests.bytes(name)
  local request = requests[name]
  local lines = { ("%s %s HTTP/1.1"):format(request.method, request.path) }
  for i, header in ipairs(request.headers) do lines[i + 1] = header[1] .. ": " .. header[2] end
  if request.body then lines[#lines + 1] = "Content-Length: " .. #request.body end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (request.body or "")
end

return requests
